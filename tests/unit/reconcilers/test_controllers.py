"""Which changes of a Node wake which Workspaces."""

from typing import Any

import pytest

from pykaito.reconcilers.controllers import may_use, node_changed
from tests.unit.reconcilers.workspaces import node, raw_workspace

LABELS = {"apps": "falcon-7b"}


def report(**changes: Any) -> dict[str, Any]:
    """Return the Node as the kubelet reports it again, a while later."""
    found = node("a", **({"labels": LABELS} | changes))
    found["metadata"]["resourceVersion"] = "2"
    for condition in found["status"]["conditions"]:
        condition["lastHeartbeatTime"] = "2026-01-01T00:05:00Z"
    return found


def test_a_report_that_nothing_changed_wakes_nobody() -> None:
    assert not node_changed(node("a", labels=LABELS), report())


@pytest.mark.parametrize(
    "after",
    [
        None,
        report(labels={}),
        report(ready=False),
        report(gpus=2),
        report() | {"spec": {"unschedulable": True}},
    ],
    ids=["gone", "label", "ready", "gpus", "cordoned"],
)
def test_what_a_choice_depends_on_wakes(after: dict[str, Any] | None) -> None:
    assert node_changed(node("a", labels=LABELS), after)


def test_a_new_node_wakes() -> None:
    assert node_changed(None, node("a"))


def test_a_node_concerns_those_that_name_or_match_it() -> None:
    by_name = raw_workspace(resource={"preferredNodes": ["a"]})
    assert may_use(by_name, node("a"))
    assert may_use(raw_workspace(), node("b", labels=LABELS))
    assert not may_use(raw_workspace(), node("b"))


def test_a_workspace_without_a_shape_concerns_no_other() -> None:
    assert may_use({"metadata": {"name": "odd"}}, node("a"))
