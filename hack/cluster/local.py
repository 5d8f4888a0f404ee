"""Bring the cluster up on this machine, and take it down: the order of things."""

import resource
import shutil
from typing import Any

from hack.cluster import (
    cgroups,
    dns,
    gpu,
    images,
    kubeconfig,
    network,
    packages,
    sysctls,
    tools,
)
from hack.cluster.commands import wait_until
from hack.cluster.controlplane import ControlPlane
from hack.cluster.node import NodeMachine
from hack.cluster.pki import Authority
from hack.cluster.progress import step
from hack.cluster.registry import OPEN, PROTECTED, Registries
from hack.cluster.sandbox import Sandbox
from hack.cluster.state import State
from hack.cluster.topology import CONTROL_PLANE, NODES

_DNS_TIMEOUT = 90.0


def up(state: State) -> None:
    """Bring up the cluster, or whatever of it does not run.

    Raises:
        ClusterError: Says which part failed and where its log is.
    """
    packages.ensure()
    _link_tools(state)
    _raise_file_limit()
    sysctls.remember(state)
    pause = images.ensure_pause_program(state)
    authority = Authority(state)

    machines = {name: Sandbox(name, state) for name in _machine_names()}
    control_plane = ControlPlane(state, machines[CONTROL_PLANE], authority)
    for machine in machines.values():
        machine.ensure()
    network.ensure_control_plane(machines[CONTROL_PLANE])
    for node in NODES:
        network.ensure_node(machines[node.name], machines[CONTROL_PLANE], node)

    registries = Registries(state, machines[CONTROL_PLANE])
    registries.ensure()
    pause_image = images.ensure_image(state, registries, pause)
    dns_image = images.ensure_image(state, registries, state.bin / "coredns")

    control_plane.ensure()
    admin = kubeconfig.ensure(
        state, authority, "admin", user="admin", group="system:masters"
    )
    shutil.copy(admin, state.kubeconfig)
    api = control_plane.api
    machines_of_nodes = [
        NodeMachine(node, state, machines[node.name], authority) for node in NODES
    ]
    for node_machine in machines_of_nodes:
        node_machine.ensure(pause_image)
    dns.ensure(api, dns_image)
    for node_machine in machines_of_nodes:
        node_machine.wait_ready(api)
        gpu.ensure_advertised(api, node_machine.node)
    if not dns.ready(api):
        with step("cluster DNS"):
            wait_until(
                lambda: dns.ready(api),
                timeout=_DNS_TIMEOUT,
                otherwise=lambda: (
                    "CoreDNS ready; see `kubectl -n kube-system describe pods`"
                ),
            )
    state.write_json(state.environment.name, _environment(state))


def down(state: State) -> None:
    """End the cluster and remove all traces of it, its state directory included.

    Raises:
        ClusterError: Says what could not be ended or removed.
    """
    for name in reversed(_machine_names()):
        Sandbox(name, state).end()
    network.remove_host_link()
    cgroups.remove_all()
    sysctls.restore(state)
    shutil.rmtree(state.root, ignore_errors=False)


def _machine_names() -> list[str]:
    return [CONTROL_PLANE, *(node.name for node in NODES)]


def _link_tools(state: State) -> None:
    directory = state.directory("bin")
    for module in tools.ALL:
        for command in tools.ensure(module).iterdir():
            link = directory / command.name
            if not link.is_symlink() or link.readlink() != command:
                link.unlink(missing_ok=True)
                link.symlink_to(command)


def _raise_file_limit() -> None:
    """Allow the processes started from here as many open files as may be."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _environment(state: State) -> dict[str, Any]:
    return {
        "provider": "local",
        "kubeconfig": str(state.kubeconfig),
        "bin": str(state.bin),
        "auditLog": str(state.audit_log),
        "registry": OPEN,
        "authRegistry": PROTECTED,
        "authRegistryCredentials": str(state.root / "registry-auth.json"),
        "nodes": {
            node.name: {"address": node.address, "gpus": node.gpus} for node in NODES
        },
        "pids": str(state.pids),
        "logs": str(state.logs),
    }
