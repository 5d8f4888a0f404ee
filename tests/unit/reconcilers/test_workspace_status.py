"""The status of a Workspace says how far it is and what is wrong."""

from typing import Any

import pytest

from pykaito.reconcilers.workspace.nodes import Selection
from pykaito.reconcilers.workspace.status import (
    Progress,
    fold,
    nodes_ready,
    planned,
    refused,
    resources,
    stalled,
    worker_nodes,
)
from pykaito.runtime.presets.plan import Known, PlanError, PlanReason, plan
from tests.unit.reconcilers.workspaces import node, workspace

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
        "spec": {"nodeName": "gpu-0"},
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


def test_nodes_are_ready_with_a_warning_of_what_they_run_short_of() -> None:
    short = node("gpu-0")
    short["status"]["conditions"] += [
        {"type": "DiskPressure", "status": "True"},
        {"type": "MemoryPressure", "status": "False"},
    ]
    condition = nodes_ready([machine()], {"gpu-0": short}, 1)
    assert (condition.type, condition.status) == ("NodesReady", "True")
    assert condition.reason == "NodesReady"
    assert condition.message == "1 of 1 nodes ready; node gpu-0 reports DiskPressure"


@pytest.mark.parametrize(
    ("lacks", "reason"),
    [
        ("NodeNotReady", "NodeNotReady"),
        ("LabelMismatch", "NodeNotReady"),
        ("ResourceMissing", "NodePluginsNotReady"),
    ],
)
def test_nodes_that_are_not_ready_say_what_kind_of_thing_they_lack(
    lacks: str, reason: str
) -> None:
    condition = nodes_ready([machine("False", lacks)], {}, 1)
    assert (condition.status, condition.reason) == ("False", reason)
    assert "why it is so" in condition.message


def test_a_node_that_is_gone_gives_no_warning() -> None:
    assert nodes_ready([machine()], {}, 2).message == "1 of 2 nodes ready"


def test_the_nodes_that_work_are_those_that_are_ready() -> None:
    assert worker_nodes([machine(), machine("False", "NodeNotReady")]) == ["gpu-0"]


def test_a_plan_is_told_in_a_sentence() -> None:
    known = Known(default_runtime="transformers")
    said = planned(plan(workspace(), known=known))
    assert said.startswith(
        "1 node with 1 nvidia.com/gpu each, falcon-7b by transformers"
    )
    assert "tokens of context" in said


def test_a_model_server_that_only_a_person_can_mend_stalls_its_workspace() -> None:
    ready = resources([machine()], ENOUGH, 1)
    hopeless = inference("False") | {"type": "InferenceStalled", "status": "True"}
    told = [inference("False"), hopeless]
    progress = fold([ready], told, generation=1, previous_state="Pending")
    assert by_type(progress)["Stalled"] == "True"
    assert "Reconciling" not in by_type(progress)
    assert progress.state == "NotReady"
    reasons = {c.type: c.reason for c in progress.conditions}
    assert reasons["Stalled"] == reasons["Ready"] == "ImagePullError"
    assert reasons["WorkspaceSucceeded"] == "workspaceFailed"


def test_what_was_hopeless_before_the_spec_changed_is_tried_anew() -> None:
    ready = resources([machine()], ENOUGH, 1)
    before = inference("False", observed=0) | {"type": "InferenceStalled"}
    progress = fold([ready], [before], generation=1, previous_state="NotReady")
    assert by_type(progress)["Reconciling"] == "True"


@pytest.mark.parametrize(
    ("reason", "hopeless"),
    [
        ("ApplyRefused", True),
        ("NameTaken", True),
        ("ProvisionerNotFound", True),
        ("QuotaExceeded", False),
        ("NodeNotFound", False),
    ],
)
def test_a_node_that_may_yet_come_is_waited_for(reason: str, *, hopeless: bool) -> None:
    condition = refused(reason, "why")
    progress = fold([condition], [], generation=1, previous_state="")
    assert ("Stalled" in by_type(progress)) == hopeless
    assert ("Reconciling" in by_type(progress)) != hopeless
