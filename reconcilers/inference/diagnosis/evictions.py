"""Why a node pushed a pod out, and what to do about it: pure."""

import re

from pykaito.api.conditions import InferenceReason
from pykaito.reconcilers.inference.diagnosis.fields import is_custom
from pykaito.reconcilers.inference.diagnosis.pod_view import PodView
from pykaito.reconcilers.inference.diagnosis.verdict import Diagnosis

#: The pod used more than it may; the node may have plenty.
_OWN_LIMIT = re.compile(
    r'EmptyDir volume "(?P<volume>[^"]+)"|ephemeral (local )?storage (usage|limit)'
)


def is_evicted(view: PodView) -> bool:
    """Whether the node pushed the pod out."""
    return view.status.get("reason") == "Evicted"


def eviction(view: PodView) -> Diagnosis:
    """Return what is to be said of a pod that was pushed out."""
    message = str(view.status.get("message", "")).strip()
    own = _OWN_LIMIT.search(message)
    look = f"who uses it: kubectl describe node {view.node}"
    if own:
        reason, remedy = InferenceReason.POD_EVICTED, _raise(view, own["volume"])
    elif "ephemeral-storage" in message or "disk" in message.lower():
        reason = InferenceReason.NODE_DISK_PRESSURE
        remedy = (
            f"Free disk space on node {view.node}, or use a node with a larger disk; "
            f"{look}"
        )
    elif "memory" in message.lower():
        reason = InferenceReason.NODE_MEMORY_PRESSURE
        remedy = f"Move other pods away or use a node with more memory; {look}"
    else:
        reason = InferenceReason.POD_EVICTED
        remedy = f"Relieve node {view.node}; {look}"
    return Diagnosis(
        reason,
        f"pod {view.name} was evicted from node {view.node}: {message.rstrip('.')}. "
        f"{remedy}",
    )


def _raise(view: PodView, volume: str | None) -> str:
    """Say where the limit is that the pod has outgrown."""
    whose = "inference.template.spec" if is_custom(view) else "the Deployment"
    if volume:
        return f"Raise or remove the sizeLimit of volume {volume} in {whose}"
    return f"Raise or remove resources.limits.ephemeral-storage in {whose}"
