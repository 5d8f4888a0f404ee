"""How tools read a status: the rules of kstatus for kinds that it does not know.

Flux, Helm's ``--wait`` and `kubectl`-like tools wait by these rules, which are those
of sigs.k8s.io/cli-utils/pkg/kstatus. They are written down here anew, so that what
the operator writes is read as others read it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any


class Reading(StrEnum):
    """What a tool takes an object for."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"


def read(obj: Mapping[str, Any]) -> Reading:
    """Return what a tool takes the object for."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Reading.TERMINATING
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata.get("generation"):
        return Reading.IN_PROGRESS
    conditions = status.get("conditions") or ()
    # The first of the two decides, in the order of the list.
    for condition in conditions:
        if (condition["type"], condition["status"]) == ("Reconciling", "True"):
            return Reading.IN_PROGRESS
        if (condition["type"], condition["status"]) == ("Stalled", "True"):
            return Reading.FAILED
    for condition in conditions:
        if condition["type"] == "Ready" and condition["status"] != "True":
            return Reading.IN_PROGRESS
    return Reading.CURRENT


def check(versions: Iterable[Mapping[str, Any]]) -> None:
    """Hold every version that one Workspace had against what it may say.

    Raises:
        AssertionError: a version would mislead a tool.
    """
    was_current_too_long = False
    for obj in versions:
        status = obj.get("status") or {}
        listed = {c["type"]: c for c in status.get("conditions") or ()}
        conditions = {kind: c["status"] for kind, c in listed.items()}
        reading = read(obj)
        assert "observedGeneration" in status, "read as current before it is seen"
        assert not {"Reconciling", "Stalled"} <= conditions.keys()
        if conditions:
            assert "Ready" in conditions or conditions.keys() <= OF_OTHER_WRITERS
        if (ready := listed.get("Ready")) is not None:
            assert ready["observedGeneration"] == status["observedGeneration"]
        if reading is Reading.CURRENT:
            assert conditions["Ready"] == "True", f"current, and has {conditions}"
            assert status["state"] == "Ready"
            # The other reconciler tells first, and the next write follows.
            serves = conditions.get("InferenceReady") == "True"
            assert serves or not was_current_too_long, f"serves not: {conditions}"
            was_current_too_long = not serves
        else:
            was_current_too_long = False
        if reading is Reading.FAILED:
            assert conditions["Ready"] == "False"


#: Conditions that may be there before the reconciler that sums them up has written.
OF_OTHER_WRITERS = {"InferenceReady", "InferenceStalled"}
