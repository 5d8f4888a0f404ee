"""Karpenter's core with its kwok cloud provider, beside the local cluster.

`python -m hack.cluster.karpenter up|down`

The core is the real one; behind it is no cloud. For a NodeClaim the provider
creates a Node object of the instance type asked for, and kwok plays its kubelet.
Both run on the control plane's machine and end with it.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from hack.cluster import cluster, instance_types, kubeconfig, tools
from hack.cluster.commands import ClusterError, answers, run
from hack.cluster.pki import Authority
from hack.cluster.process import Process
from hack.cluster.progress import step
from hack.cluster.sandbox import Sandbox
from hack.cluster.state import LOCAL, State
from hack.cluster.topology import (
    CONTROL_PLANE,
    CONTROL_PLANE_ADDRESS,
    FAKE_POD_RANGE,
    NODE_GRACE_SECONDS,
)

_CORE = "karpenter"
_KUBELETS = "kwok"
_FAKE = "kwok.x-k8s.io/node=fake"
# Served on the control plane's machine, where no other process has these ports.
_METRICS_PORT = 8090
_HEALTH_PORT = 8091
_KUBELETS_PORT = 8092
_STAGES = Path(__file__).with_name("kwok_stages.yaml")
# The names of the CRDs, and where they lie in Karpenter's sources.
_CRDS = {
    "nodeclaims.karpenter.sh": "pkg/apis/crds/karpenter.sh_nodeclaims.yaml",
    "nodepools.karpenter.sh": "pkg/apis/crds/karpenter.sh_nodepools.yaml",
    "kwoknodeclasses.karpenter.kwok.sh": (
        "kwok/apis/crds/karpenter.kwok.sh_kwoknodeclasses.yaml"
    ),
}
_NODE_CLASS = {
    "apiVersion": "karpenter.kwok.sh/v1alpha1",
    "kind": "KWOKNodeClass",
    "metadata": {"name": "default"},
}
_START_TIMEOUT = 60.0
_OBJECT_TIMEOUT = 60


def up(state: State) -> None:
    """Start Karpenter, or whatever of it does not run; built on first use.

    Raises:
        ClusterError: The cluster is not the local one, or the message says which
            part failed and where its log is.
    """
    _check_local(state)
    core, kubelets = (
        tools.ensure(module) / "kwok" for module in (tools.KARPENTER, tools.KWOK)
    )
    sources = tools.sources(tools.KARPENTER)
    with cluster.alone():
        _ensure_objects(state, sources)
        _ensure_processes(state, core, kubelets)


def down(state: State) -> None:
    """End Karpenter and remove its objects, its nodes and its CRDs.

    Nothing waits for Karpenter to drain a node: it is ended first, and what it
    has yet to finish is dropped.

    Raises:
        ClusterError: Something of it could not be ended or removed.
    """
    _check_local(state)
    with cluster.alone():
        Process(_CORE, state).end()
        try:
            _remove_objects(state)
            _remove_nodes(state)
        finally:
            Process(_KUBELETS, state).end()


def core_command(
    core: Path, instance_types_file: Path, config: Path
) -> tuple[str, ...]:
    """The command line of Karpenter: one replica, with NodePools of fixed size."""
    return (
        # Its own flags leave no place for controller-runtime's --kubeconfig.
        *("env", f"KUBECONFIG={config}", str(core)),
        f"--instance-types-file-path={instance_types_file}",
        f"--metrics-port={_METRICS_PORT}",
        f"--health-probe-port={_HEALTH_PORT}",
        "--disable-leader-election=true",
        "--feature-gates=StaticCapacity=true",
    )


def kubelets_command(kubelets: Path, config: Path) -> tuple[str, ...]:
    """The command line of kwok: it minds the nodes that the provider made."""
    return (
        str(kubelets),
        f"--kubeconfig={config}",
        f"--config={_STAGES}",
        f"--manage-nodes-with-annotation-selector={_FAKE}",
        # As the kubelets here; a kwok that is started again waits as long before it
        # takes over the nodes of the one before.
        f"--node-lease-duration-seconds={NODE_GRACE_SECONDS}",
        f"--node-ip={CONTROL_PLANE_ADDRESS}",
        f"--cidr={FAKE_POD_RANGE}",
        f"--server-address=0.0.0.0:{_KUBELETS_PORT}",
    )


def _check_local(state: State) -> None:
    provider = cluster.environment(state).get("provider", "none")
    if provider != "local":
        raise ClusterError(
            "Karpenter runs beside the local cluster, on its control plane's machine;"
            f" the cluster in use is: {provider}"
        )


def _ensure_objects(state: State, sources: Path) -> None:
    crds = [flag for path in _CRDS.values() for flag in ("-f", sources / path)]
    _kubectl(state, "apply", "--server-side", "--force-conflicts", *crds)
    _kubectl(
        *(state, "wait", "--for=condition=Established"),
        *(f"--timeout={_OBJECT_TIMEOUT}s", *(f"crd/{name}" for name in _CRDS)),
    )
    node_class = json.dumps(_NODE_CLASS)
    _kubectl(state, "apply", "--server-side", "-f", "-", stdin=node_class)


def _ensure_processes(state: State, core: Path, kubelets: Path) -> None:
    machine = Sandbox(CONTROL_PLANE, state)
    config = kubeconfig.ensure(
        state, Authority(state), "karpenter", user="karpenter", group="system:masters"
    )
    types = state.write_json("karpenter-instance-types.json", instance_types.render())
    for name, command, health in (
        (_KUBELETS, kubelets_command(kubelets, config), f"{_KUBELETS_PORT}/healthz"),
        (_CORE, core_command(core, types, config), f"{_HEALTH_PORT}/readyz"),
    ):
        process, started = machine.ensure_process(name, command)
        if started:
            with step(name):
                url = f"http://{CONTROL_PLANE_ADDRESS}:{health}"
                process.wait_ready(partial(answers, url), timeout=_START_TIMEOUT)


def _remove_objects(state: State) -> None:
    """Delete the CRDs, and with them the objects, which nobody finalizes any more."""
    for crd in _names(state, "crd", "--ignore-not-found", *_CRDS):
        for found in _names(state, crd.rpartition("/")[2]):
            _drop_finalizers(state, found)
    timeout = f"--timeout={_OBJECT_TIMEOUT}s"
    _kubectl(state, "delete", "crd", "--ignore-not-found", timeout, *_CRDS)


def _remove_nodes(state: State) -> None:
    for node in _names(state, "nodes", f"--selector={_FAKE}"):
        _kubectl(state, "delete", node, "--wait=false", "--ignore-not-found")
        _drop_finalizers(state, node)
        # No pod can come to the node any more; those on it run nowhere.
        there = f"--field-selector=spec.nodeName={node.removeprefix('node/')}"
        at_once = ("--force", "--grace-period=0")
        _kubectl(state, "delete", "pods", "--all-namespaces", there, *at_once)


def _drop_finalizers(state: State, name: str) -> None:
    """Take an object's finalizers away; it may be gone by now."""
    patch = json.dumps({"metadata": {"finalizers": None}})
    try:
        _kubectl(state, "patch", name, "--type=merge", f"--patch={patch}")
    except ClusterError as error:
        if "NotFound" not in str(error):
            raise


def _names(state: State, kind: str, *options: str) -> list[str]:
    return _kubectl(state, "get", kind, "--output=name", *options).split()


def _kubectl(state: State, *arguments: str | Path, stdin: str | None = None) -> str:
    return run(
        *(state.bin / "kubectl", "--kubeconfig", state.kubeconfig, *arguments),
        timeout=_OBJECT_TIMEOUT + 10,
        stdin=stdin,
    )


def main() -> int:
    """Do what the command line asks for; the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m hack.cluster.karpenter")
    parser.add_argument("command", choices=("up", "down"))
    try:
        {"up": up, "down": down}[parser.parse_args().command](LOCAL)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
