"""Clusters that are not made here: one of the user's, or kind's.

Both are for machines where the local cluster cannot or need not run. Tests read
env.json and do not know which of the three they got.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from hack.cluster import tools
from hack.cluster.commands import run, succeeds
from hack.cluster.progress import note, step
from hack.cluster.state import State
from hack.cluster.topology import GPU_NODE

_KIND_CLUSTER = "pykaito"
_KIND_TIMEOUT = 600.0
_KIND_CONFIG = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "nodes": [{"role": "control-plane"}, {"role": "worker"}],
}
_ASK_TIMEOUT = 15.0


def names_another(state: State) -> bool:
    """Whether KUBECONFIG is set to something else than our own kubeconfig."""
    named = os.environ.get("KUBECONFIG")
    return bool(named) and Path(str(named)).resolve() != state.kubeconfig.resolve()


def use_kubeconfig(state: State) -> dict[str, Any] | None:
    """Use the cluster that KUBECONFIG reaches.

    Images must come from a registry that this machine can push to and the
    cluster can pull from; PYKAITO_REGISTRY names it.

    Returns:
        What is known about it, for env.json; None if it does not answer.
    """
    tools.link((tools.KUBERNETES, tools.HELM), state.directory("bin"))
    kubectl = state.bin / "kubectl"
    if not succeeds(kubectl, "get", "--raw", "/readyz", timeout=_ASK_TIMEOUT):
        note(f"KUBECONFIG={os.environ['KUBECONFIG']}: no cluster answers, not used")
        return None
    # One file, with all it needs and the current context alone.
    text = run(kubectl, "config", "view", "--raw", "--flatten", "--minify")
    state.write(state.kubeconfig.name, text, mode=0o600)
    return {"registry": os.environ.get("PYKAITO_REGISTRY")}


def has_kind() -> bool:
    """Whether kind is installed, and a Docker that works."""
    return bool(shutil.which("kind")) and succeeds(
        "docker", "info", timeout=_ASK_TIMEOUT
    )


def up_kind(state: State) -> dict[str, Any]:
    """Create a cluster by kind, unless it is there.

    Returns:
        What is known about it, for env.json. Its images are loaded by `kind load`.
    """
    tools.link((tools.KUBERNETES, tools.HELM), state.directory("bin"))
    if _KIND_CLUSTER not in run("kind", "get", "clusters").split():
        with step("kind cluster"):
            config = state.write_json("kind.json", _KIND_CONFIG)
            run(
                *("kind", "create", "cluster", "--wait", "5m", "--config", config),
                *("--name", _KIND_CLUSTER, "--kubeconfig", state.kubeconfig),
                timeout=_KIND_TIMEOUT,
            )
    else:
        run(
            *("kind", "export", "kubeconfig"),
            *("--name", _KIND_CLUSTER, "--kubeconfig", state.kubeconfig),
        )
    # The second node advertises GPUs that it does not have, as gpu.py explains.
    gpus = {"nvidia.com/gpu": str(GPU_NODE.gpus)}
    run(
        *(state.bin / "kubectl", "--kubeconfig", state.kubeconfig, "patch", "node"),
        *(f"{_KIND_CLUSTER}-worker", "--subresource=status", "--type=merge"),
        f"--patch={json.dumps({'status': {'capacity': gpus, 'allocatable': gpus}})}",
    )
    return {"registry": None, "kindCluster": _KIND_CLUSTER}


def down_kind() -> None:
    """Delete the cluster created by kind."""
    with step("delete the kind cluster"):
        run("kind", "delete", "cluster", "--name", _KIND_CLUSTER, timeout=_KIND_TIMEOUT)
