"""Why a container ends again and again, and what to do about it: pure."""

import re
from collections.abc import Mapping
from typing import Any

from pykaito.api.conditions import InferenceReason
from pykaito.operator.objects import name
from pykaito.reconcilers.inference.diagnosis.fields import (
    adapter_of,
    image_field,
    is_custom,
    is_server,
    template_path,
)
from pykaito.reconcilers.inference.diagnosis.patience import restarts_in_vain
from pykaito.reconcilers.inference.diagnosis.pod_view import ContainerSpec, PodView
from pykaito.reconcilers.inference.diagnosis.verdict import Diagnosis

#: What Python says last, and what launchers of processes say after it.
_ERROR = re.compile(r"^\s*[\w.]*(Error|Exception|Interrupt|Exit)\b.*\S", re.MULTILINE)
_OF_A_LAUNCHER = re.compile(r"CalledProcessError|ChildFailedError")
_GPU_MEMORY = re.compile(r"CUDA out of memory|OutOfMemoryError|CUDA error: out of")
#: Of the last words, in characters: more does not fit beside the remedy.
_LAST_WORDS = 300


def memory_failure(view: PodView, container: Mapping[str, Any]) -> Diagnosis:
    """Return what is to be said of a container that used too much memory."""
    named = container["name"]
    spec = view.container(named)
    limit = _memory_limit(spec)
    bound = f"than its limit of {limit}" if limit else f"than node {view.node} has left"
    return Diagnosis(
        InferenceReason.CONTAINER_OOM_KILLED,
        f"container {named} of pod {view.name} needs more memory {bound} and was "
        f"killed {_rounds(container)}. {_more_memory(view, spec, limit)}",
        stalled=restarts_in_vain(container),
    )


def crash(view: PodView, container: Mapping[str, Any]) -> Diagnosis:
    """Return what is to be said of a container that ended in failure."""
    named = container["name"]
    spec = view.container(named)
    ended = _ended(container)
    words = last_words(ended.get("message") or "")
    field = image_field(view, spec).path
    whose = f", which runs {spec.spec['image']} ({field})," if field and spec else ""
    why = f": {words}" if words else ""
    return Diagnosis(
        InferenceReason.CONTAINER_CRASH_LOOP_BACK_OFF,
        f"container {named} of pod {view.name}{whose} ended with exit code "
        f"{ended.get('exitCode', '?')} {_rounds(container)}{why.rstrip('.')}. "
        f"{_remedy(view, spec, words)}",
        stalled=restarts_in_vain(container),
    )


def last_words(message: str) -> str:
    """Return the line of a container's last output that says what went wrong."""
    errors = [
        line[0].strip()
        for line in _ERROR.finditer(message)
        if not _OF_A_LAUNCHER.search(line[0])
    ]
    lines = errors or [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1][:_LAST_WORDS] if lines else ""


def _ended(container: Mapping[str, Any]) -> Mapping[str, Any]:
    state = container.get("state") or {}
    last = container.get("lastState") or {}
    found: Mapping[str, Any] = state.get("terminated") or last.get("terminated") or {}
    return found


def _rounds(container: Mapping[str, Any]) -> str:
    return f"(restarts: {container.get('restartCount', 0)})"


def _memory_limit(container: ContainerSpec | None) -> str:
    resources = (container.spec.get("resources") if container else None) or {}
    return str((resources.get("limits") or {}).get("memory") or "")


def _more_memory(view: PodView, container: ContainerSpec | None, limit: str) -> str:
    if container is not None and is_custom(view):
        path = f"{template_path(container)}.resources"
        return f"Raise {path}.limits.memory" if limit else f"Set {path}.requests.memory"
    if limit:
        server = name(view.workspace)
        return (
            "Give it more, which stays yours: "
            f"{view.kubectl} set resources deployment {server} -c {server} "
            "--requests=memory=MORE --limits=memory=MORE; or lower "
            "vllm.max-model-len in the ConfigMap of inference.config"
        )
    return (
        "Use a node with more memory, or a smaller model; who uses it: kubectl "
        f"describe node {view.node}"
    )


def _remedy(view: PodView, container: ContainerSpec | None, words: str) -> str:
    named = container.spec["name"] if container else ""
    log = f"{view.kubectl} logs {view.name} -c {named} -p"
    if adapter := adapter_of(view, container):
        return (
            f"Put adapter_config.json and the weights of adapter {adapter} under /data "
            f"of the image, or remove the adapter; its log: {log}"
        )
    if is_server(view, named) and _GPU_MEMORY.search(words):
        return (
            "Lower vllm.max-model-len in the ConfigMap of inference.config, or use a "
            f"node with more GPU memory; its log: {log}"
        )
    return f"Its log says more: {log}"
