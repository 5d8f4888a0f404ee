"""The status of a Workspace says how far it is and what is wrong."""

from typing import Any

import pytest

from pykaito.reconcilers.workspace.nodes import Selection
from pykaito.reconcilers.workspace.status import Progress, fold, resources, stalled
from pykaito.runtime.presets.plan import PlanError, PlanReason

ENOUGH = Selection(nodes=("a",), missing=0, wanted="labels apps=x")
NONE = Selection(nodes=(), missing=1, wanted="labels apps=x")


def machine(
    status: str = "True", reason: str = "Ready", *, observed: int = 1
) -> dict[str, Any]:
    condition = {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": "why it is so",
        "observedGeneration": observed,
    }
    return {
        "metadata": {"name": "m", "generation": 1},
        "status": {"conditions": [condition]},
    }


def inference(status: str, *, observed: int = 1) -> dict[str, Any]:
    return {
        "type": "InferenceReady",
        "status": status,
        "reason": "ImagePullError",
        "message": "cannot pull",
        "observedGeneration": observed,
    }


def by_type(progress: Progress) -> dict[str, str]:
    return {c.type: c.status for c in progress.conditions}


def test_resources_are_ready_when_every_machine_is() -> None:
    assert resources([machine()], ENOUGH, 1).status == "True"


def test_what_a_machine_lacks_becomes_the_workspaces_reason() -> None:
    condition = resources([machine("False", "LabelMismatch")], ENOUGH, 1)
    assert (condition.status, condition.reason) == ("False", "LabelMismatch")
    assert "why it is so" in condition.message


def test_a_machine_that_was_not_looked_at_since_its_change_is_not_ready() -> None:
    assert resources([machine(observed=0)], ENOUGH, 1).status == "False"


def test_without_a_node_the_message_says_which_would_count() -> None:
    condition = resources([], NONE, 1)
    assert condition.reason == "NoMatchingNode"
    assert "labels apps=x" in condition.message


def test_a_workspace_that_serves_is_ready_and_at_rest() -> None:
    ready = resources([machine()], ENOUGH, 1)
    progress = fold(
        [ready], [inference("True")], generation=1, previous_state="Pending"
    )
    assert progress.state == "Ready"
    assert by_type(progress) == {
        "ResourceReady": "True",
        "WorkspaceSucceeded": "True",
        "Ready": "True",
    }


@pytest.mark.parametrize("found", [[], [inference("True", observed=0)]])
def test_an_answer_about_an_older_spec_does_not_count(found: Any) -> None:
    ready = resources([machine()], ENOUGH, 1)
    progress = fold([ready], found, generation=1, previous_state="")
    assert by_type(progress)["Ready"] == "False"
    assert by_type(progress)["Reconciling"] == "True"


def test_a_workspace_on_its_way_is_pending_and_never_stalled() -> None:
    progress = fold([resources([], NONE, 1)], [], generation=1, previous_state="")
    assert progress.state == "Pending"
    assert "Stalled" not in by_type(progress)


def test_a_workspace_that_served_before_is_not_ready_rather_than_pending() -> None:
    ready = resources([machine()], ENOUGH, 1)
    progress = fold([ready], [inference("False")], generation=1, previous_state="Ready")
    assert progress.state == "NotReady"


def test_the_workloads_reason_is_the_workspaces_once_its_nodes_are_ready() -> None:
    ready = resources([machine()], ENOUGH, 1)
    progress = fold([ready], [inference("False")], generation=1, previous_state="")
    reasons = {c.type: c.reason for c in progress.conditions}
    assert reasons["Ready"] == "ImagePullError"


def test_a_spec_that_cannot_be_served_is_stalled_and_never_reconciling() -> None:
    error = PlanError(PlanReason.PRESET_NOT_FOUND, "preset 'x' is unknown")
    progress = stalled(error, tuning=False)
    assert by_type(progress)["Stalled"] == "True"
    assert "Reconciling" not in by_type(progress)
    assert all("preset 'x' is unknown" in c.message for c in progress.conditions)
