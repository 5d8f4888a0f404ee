"""The container of the vLLM runtime, as far as it is its own."""

from collections.abc import Mapping
from typing import Any

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.reconcilers.inference.manifests.probes import probes
from pykaito.reconcilers.inference.manifests.services import SERVER_PORT
from pykaito.reconcilers.inference.manifests.weights import WEIGHTS, downloads
from pykaito.runtime.presets.memory import UTILIZATION_PERCENT
from pykaito.runtime.presets.plan import ModelServer, Plan
from pykaito.runtime.presets.vllm_flags import vllm_environment, vllm_flags

MODULE = "pykaito.runtime.vllm"

#: Asks for a token: an engine that hangs keeps its port open.
ACTIVE_HEALTH = "/health/active"

#: More than a step of the engine takes, in which it reads a part of a long prompt.
HUNG_SECONDS = 120

#: Until Services send nothing any more to a pod that is to end.
LEAVING_SECONDS = 5


def container(
    workspace: Workspace, plan: Plan, server: ModelServer, *, drain: int
) -> dict[str, Any]:
    """Return what the container runs, and how it is watched and ended.

    Args:
        workspace: whose model it serves.
        plan: what the pod takes of its node.
        server: the model.
        drain: seconds that requests in flight get to end.
    """
    leave = ["/bin/sh", "-c", f"sleep {LEAVING_SECONDS}"]
    asked = probes(server, ACTIVE_HEALTH, timeout=10, hung_after=HUNG_SECONDS)
    # An engine that hangs ends no request, however long it is waited for.
    asked["livenessProbe"]["terminationGracePeriodSeconds"] = LEAVING_SECONDS * 2
    return {
        "command": command(workspace, plan, server, drain=drain),
        **asked,
        "lifecycle": {"preStop": {"exec": {"command": leave}}},
    }


def command(
    workspace: Workspace, plan: Plan, server: ModelServer, *, drain: int
) -> list[str]:
    """Return the command that users may edit, its flags always in one order."""
    flags = {
        **_of_weights(server),
        "served-model-name": server.served_model_name,
        "port": str(SERVER_PORT),
        "dtype": server.dtype,
        # vLLM measures what fits; the plan's figure is an estimate.
        "max-model-len": str(server.asked_context or "auto"),
        **_of_memory(plan),
        **vllm_flags(server.preset),
    }
    mode = workspace.metadata.annotations.get(labels.PERFORMANCE_MODE)
    if mode not in {None, "balanced"}:
        flags["performance-mode"] = mode
    flags["shutdown-timeout"] = str(drain)
    return [
        *("python3", "-m", MODULE),
        *(f"--{k}" if v is None else f"--{k}={v}" for k, v in flags.items()),
    ]


def environment(plan: Plan, server: ModelServer) -> Mapping[str, str]:
    """Return environment variables that vLLM reads."""
    variables = {
        # Its kernels would be compiled when the server starts.
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        **vllm_environment(server.preset),
    }
    if "cpu" in plan.node_resources:
        # Cores are shared with other pods: threads are for the scheduler to place.
        variables["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    return variables


def _of_weights(server: ModelServer) -> dict[str, str | None]:
    if not server.downloads:
        return {"model": WEIGHTS}
    revision: dict[str, str | None] = {}
    if server.revision:
        revision = {"revision": server.revision}
    return {"model": server.preset.hub, **revision, "download-dir": downloads(server)}


def _of_memory(plan: Plan) -> dict[str, str | None]:
    if plan.memory is not None and plan.memory.of == "RAM":
        return {"kv-cache-memory-bytes": str(plan.memory.cache)}
    return {
        "tensor-parallel-size": str(max(1, plan.gpus_per_node)),
        "gpu-memory-utilization": f"{UTILIZATION_PERCENT / 100:g}",
    }
