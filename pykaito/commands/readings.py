"""What a Workspace and its children say of themselves, looked up safely: pure."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from pykaito.api.conditions import WorkspaceCondition
from pykaito.operator.objects import Object, name
from pykaito.reconcilers.inference.loading import told_of


class Outcome(IntEnum):
    """Where a Workspace stands; the value is the exit code of ``status --watch``."""

    READY = 0
    FAILED = 1
    PROGRESSING = 2


def condition(obj: Object, kind: str) -> Mapping[str, Any]:
    """Return a condition of the object, an empty mapping if it has none such."""
    for found in status(obj).get("conditions") or ():
        if found.get("type") == kind:
            return dict(found)
    return {}


def holds(obj: Object, kind: str) -> bool:
    """Whether a condition is True."""
    return condition(obj, kind).get("status") == "True"


def status(obj: Object) -> Mapping[str, Any]:
    """Return the status, an empty mapping if there is none."""
    found: Mapping[str, Any] = obj.get("status") or {}
    return found


def is_leaving(obj: Object) -> bool:
    """Whether the object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def is_observed(workspace: Object) -> bool:
    """Whether the status is about the spec as it is now."""
    generation = workspace["metadata"].get("generation")
    return bool(status(workspace).get("observedGeneration") == generation)


def outcome(workspace: Object) -> Outcome:
    """Say whether the Workspace serves, cannot, or is on its way."""
    if is_leaving(workspace) or not is_observed(workspace):
        return Outcome.PROGRESSING
    if holds(workspace, WorkspaceCondition.STALLED):
        return Outcome.FAILED
    ready = holds(workspace, WorkspaceCondition.READY)
    return Outcome.READY if ready else Outcome.PROGRESSING


def doing(workspace: Object, pod: Object) -> str:
    """Return what a pod's server told the operator that it does, empty if nothing.

    Only the operator asks pods; what it was told is in a condition.
    """
    if all(c.get("started") for c in status(pod).get("containerStatuses") or ()):
        return ""
    found = condition(workspace, WorkspaceCondition.INFERENCE_READY)
    return told_of(name(pod), found.get("message", ""))


def model_of(workspace: Object) -> str:
    """Return what the Workspace names as its model, empty for a template."""
    part = workspace.get("inference") or workspace.get("tuning") or {}
    return str((part.get("preset") or {}).get("name", ""))
