"""How far a pod is that comes along: pure."""

from collections.abc import Mapping
from typing import Any

from pykaito.reconcilers.inference.diagnosis.fields import (
    WEIGHTS,
    adapter_of,
    image_volumes,
    is_custom,
)
from pykaito.reconcilers.inference.diagnosis.pod_view import PodView
from pykaito.reconcilers.inference.loading import sentence


def progress(view: PodView) -> str:
    """Return what a pod is at, as a sentence."""
    if not view.holds("PodScheduled"):
        return f"pod {view.name} waits for the scheduler{_and_volumes(view)}"
    for container in view.status.get("initContainerStatuses") or ():
        state = container.get("state") or {}
        if "terminated" in state or container.get("started"):
            continue
        if "running" in state:
            return f"pod {view.name} is {_fetching(view, container)}"
        return _pulling(view, container)
    return _of_servers(view)


def _and_volumes(view: PodView) -> str:
    """Return what the scheduler may wait for itself, for minutes and without a word."""
    if not view.claims:
        return ""
    return (
        f", and that for a volume of PersistentVolumeClaim {' and '.join(view.claims)} "
        "where there is none yet; how far it is: "
        f"{view.kubectl} describe pvc {' '.join(view.claims)}"
    )


def _of_servers(view: PodView) -> str:
    containers = view.status.get("containerStatuses") or ()
    waiting = [c for c in containers if "running" not in (c.get("state") or {})]
    if waiting:
        return _pulling(view, waiting[0])
    if not containers:
        return f"pod {view.name} is being set up on node {view.node}"
    if view.holds("Ready"):
        seconds = f"{view.settling.total_seconds():.0f}"
        return f"pod {view.name} is ready, and counts once it was for {seconds} s"
    if is_custom(view):
        return f"pod {view.name} runs and is not ready yet"
    if all(container.get("started") for container in containers):
        return f"pod {view.name} has loaded the model and is not ready yet"
    return sentence(view.name, view.report)


def _pulling(view: PodView, container: Mapping[str, Any]) -> str:
    spec = view.container(container["name"])
    images = [str((spec.spec if spec else container).get("image", ""))]
    if spec is not None and spec.kind == "containers":
        images += image_volumes(view)
    return (
        f"pod {view.name} is pulling {' and '.join(images)} for container "
        f"{container['name']} on node {view.node}"
    )


def _fetching(view: PodView, container: Mapping[str, Any]) -> str:
    named = container["name"]
    if adapter := adapter_of(view, view.container(named)):
        return f"fetching adapter {adapter}"
    if named == WEIGHTS and not is_custom(view):
        return "copying the weights out of their image"
    return f"running its init container {named}"
