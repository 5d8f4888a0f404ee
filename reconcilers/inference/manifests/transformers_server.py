"""The container of the transformers runtime, as far as it is its own."""

from typing import Any

from pykaito.reconcilers.inference.manifests.probes import probes
from pykaito.reconcilers.inference.manifests.weights import WEIGHTS
from pykaito.runtime.presets.plan import ModelServer, Plan

#: Runs inside the container before it gets SIGTERM: the server is a child of
#: `accelerate launch`, which passes no signal on, so it is told by its own pid. A
#: server that has not started yet has none, and is waited for.
DRAIN_SCRIPT = (
    "until pid=$(cat /tmp/inference_api.pid) && kill -TERM $pid; do sleep 0.2; done "
    "2>/dev/null; while kill -0 $pid 2>/dev/null; do sleep 0.2; done"
)


def container(plan: Plan, server: ModelServer) -> dict[str, Any]:
    """Return what the container runs, and how it is watched and ended."""
    return {
        "workingDir": "/workspace/tfs",
        "command": ["/bin/sh", "-c", command(plan, server)],
        **probes(server, "/health", timeout=5, hung_after=60),
        "lifecycle": {
            "preStop": {"exec": {"command": ["/bin/sh", "-c", DRAIN_SCRIPT]}}
        },
    }


def command(plan: Plan, server: ModelServer) -> str:
    """Return the shell command that users may edit in the workload."""
    source = " --allow_remote_files" if server.downloads else ""
    if server.revision:
        source += f" --revision {server.revision}"
    model = server.preset.hub if server.downloads else WEIGHTS
    limited = server.context_length < server.preset.context_length
    limit = f" --max_model_len {server.context_length}" if limited else ""
    if plan.memory is not None and plan.memory.of == "RAM":
        # Of itself it takes a share of what is free, which a limit leaves little of.
        limit += f" --kv_cache_memory_bytes {plan.memory.cache}"
    return (
        "accelerate launch --num_processes 1 --num_machines 1 --machine_rank 0 "
        "--gpu_ids all inference_api.py --pipeline text-generation "
        f"--torch_dtype {server.dtype} "
        f"--pretrained_model_name_or_path {model}{source} "
        f"--served_model_name {server.served_model_name}{limit}"
    )
