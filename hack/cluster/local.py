"""The cluster on this machine, up and down: the order of things."""

import os
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
    tools,
)
from hack.cluster.commands import ClusterError, wait_until
from hack.cluster.controlplane import ControlPlane
from hack.cluster.node import NodeMachine
from hack.cluster.pki import Authority
from hack.cluster.progress import step
from hack.cluster.registry import OPEN, PROTECTED, Registries
from hack.cluster.sandbox import Sandbox
from hack.cluster.state import State
from hack.cluster.topology import CONTROL_PLANE, NODES

_DNS_TIMEOUT = 90.0


def up(state: State) -> dict[str, Any]:
    """Bring up the cluster, or whatever of it does not run.

    Returns:
        What is to be known about it, for env.json.

    Raises:
        ClusterError: Says which part failed and where its log is.
    """
    _check_root()
    packages.ensure()
    control_machine = Sandbox(CONTROL_PLANE, state)
    if network.used_by_another(control_machine):
        raise ClusterError(
            "another checkout's cluster runs on this machine: end it with"
            " `make cluster-down` there. If none runs, one that was killed left its"
            f" link behind: `ip link delete {network.HOST_LINK}`"
        )
    tools.link(tools.CLUSTER, state.directory("bin"))
    _raise_file_limit()
    pause = images.ensure_pause_program(state)
    authority = Authority(state)

    node_machines = {node: Sandbox(node.name, state) for node in NODES}
    for node, machine in node_machines.items():
        if not machine.identity:
            # A kubelet takes seconds over each group that a crash left behind.
            cgroups.remove(cgroups.path_of(node.name))
    for machine in (control_machine, *node_machines.values()):
        machine.ensure()
    network.ensure(control_machine, node_machines)

    registries = Registries(state, control_machine)
    registries.ensure()
    pause_image = images.ensure_image(state, registries, pause)
    dns_image = images.ensure_image(state, registries, state.bin / "coredns")

    control_plane = ControlPlane(state, control_machine, authority)
    control_plane.ensure()
    admin = kubeconfig.ensure(
        state, authority, "admin", user="admin", group="system:masters"
    )
    shutil.copy(admin, state.kubeconfig)

    api = control_plane.api
    nodes = {
        node: NodeMachine(node, state, machine, authority)
        for node, machine in node_machines.items()
    }
    for processes in nodes.values():
        processes.ensure(pause_image)
    dns.ensure(api, dns_image)
    for node, processes in nodes.items():
        processes.wait_ready(api)
        gpu.ensure_advertised(api, node)
    if not dns.answers():
        with step("cluster DNS"):
            wait_until(
                dns.answers,
                timeout=_DNS_TIMEOUT,
                otherwise=lambda: (
                    "an answer from CoreDNS; see `kubectl --kubeconfig"
                    f" {state.kubeconfig} -n kube-system describe pods`"
                ),
            )
    return _facts(state)


def down(state: State) -> None:
    """End the cluster and remove all traces of it but the state directory.

    Raises:
        ClusterError: Says what could not be ended or removed.
    """
    _check_root()
    control_machine = Sandbox(CONTROL_PLANE, state)
    network.disconnect_host(control_machine)
    for node in NODES:
        Sandbox(node.name, state).end()
    control_machine.end()
    if network.used_by_another(control_machine):
        return
    cgroups.remove()


def _check_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "the local cluster makes network and mount namespaces, which takes root:"
            " run `sudo make cluster`, or install Docker and kind, or set KUBECONFIG"
            " to a cluster of yours"
        )


def _raise_file_limit() -> None:
    """Allow the processes started from here as many open files as may be."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _facts(state: State) -> dict[str, Any]:
    return {
        "registry": OPEN,
        "authRegistry": PROTECTED,
        "authRegistryCredentials": str(state.root / "registry-auth.json"),
        "auditLog": str(state.audit_log),
        "nodes": {
            node.name: {"address": node.address, "gpus": node.gpus} for node in NODES
        },
        "pids": str(state.pids),
        "logs": str(state.logs),
    }
