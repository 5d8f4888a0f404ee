"""Statuses are read as others read them, and say what is so."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykaito.api.conditions import InferenceReason
from pykaito.reconcilers.conditions import Condition
from pykaito.reconcilers.inference.diagnosis import Diagnosis
from pykaito.reconcilers.inference.status import conditions
from pykaito.reconcilers.workspace.status import (
    HOPELESS,
    Progress,
    deleting,
    fold,
    refused,
    stalled,
)
from pykaito.runtime.presets.plan import PlanError, PlanReason
from tests import kstatus
from tests.kstatus import Reading

GENERATIONS = st.integers(1, 3)
REASONS = st.sampled_from([*HOPELESS, "NoMatchingNode", "NodeNotReady"])
RESOURCES = st.one_of(
    st.just(Condition("ResourceReady", "True", "workspaceResourceStatusSuccess")),
    st.builds(refused, REASONS, st.just("why")),
)
DIAGNOSES = st.one_of(
    st.just(Diagnosis(InferenceReason.SUCCESS, "1 of 1 replicas serve")),
    st.builds(
        Diagnosis,
        st.sampled_from([r for r in InferenceReason if r != InferenceReason.SUCCESS]),
        st.text(max_size=9),
        progressing=st.booleans(),
        stalled=st.booleans(),
    ),
)


def workspace(
    wanted: Progress, others: list[dict[str, Any]], *, generation: int = 1
) -> dict[str, Any]:
    """Return a Workspace whose generation the status is about."""
    own = [as_written(condition, generation) for condition in wanted.conditions]
    return {
        "metadata": {"generation": generation},
        "status": {
            "observedGeneration": generation,
            "state": wanted.state,
            "conditions": [*others, *own],
        },
    }


def as_written(condition: Condition, generation: int) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
    }


@given(RESOURCES, st.none() | DIAGNOSES, GENERATIONS, GENERATIONS, st.booleans())
def test_a_status_is_current_if_and_only_if_all_of_this_spec_serves(
    resource: Condition,
    found: Diagnosis | None,
    generation: int,
    observed: int,
    served: bool,
) -> None:
    others = [as_written(c, observed) for c in (conditions(found) if found else ())]
    progress = fold(
        [resource],
        others,
        generation=generation,
        previous_state="Ready" if served else "",
    )
    obj = workspace(progress, others, generation=generation)
    kstatus.check([obj])
    told = found if found and observed == generation else None
    serves = told is not None and told.reason == InferenceReason.SUCCESS
    has_nodes = resource.status == "True"
    hopeless = (
        told is not None and told.stalled
        if has_nodes
        else (resource.reason in HOPELESS)
    )
    if serves and has_nodes:
        assert kstatus.read(obj) is Reading.CURRENT
    elif hopeless:
        assert kstatus.read(obj) is Reading.FAILED
    else:
        assert kstatus.read(obj) is Reading.IN_PROGRESS


@given(st.sampled_from(PlanReason), st.booleans())
def test_a_spec_that_nothing_can_serve_has_failed(
    reason: PlanReason,
    tuning: bool,
) -> None:
    progress = stalled(PlanError(reason, "why"), tuning=tuning)
    obj = workspace(progress, [])
    kstatus.check([obj])
    assert kstatus.read(obj) is Reading.FAILED


def test_a_workspace_that_nobody_has_seen_is_on_its_way() -> None:
    obj = {"metadata": {"generation": 1}, "status": {"observedGeneration": -1}}
    assert kstatus.read(obj) is Reading.IN_PROGRESS


def test_a_workspace_whose_spec_changed_is_on_its_way_before_it_is_seen() -> None:
    served = fold(
        [Condition("ResourceReady", "True", "x")],
        [as_written(Condition("InferenceReady", "True", "x"), 1)],
        generation=1,
        previous_state="",
    )
    obj = workspace(served, [])
    assert kstatus.read(obj) is Reading.CURRENT
    obj["metadata"]["generation"] = 2
    assert kstatus.read(obj) is Reading.IN_PROGRESS


def test_a_workspace_that_is_deleted_is_not_ready_meanwhile() -> None:
    machine = {"metadata": {"name": "m", "generation": 1}}
    obj = workspace(Progress("Ready", deleting([machine])), [])
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    kstatus.check([obj])
    assert kstatus.read(obj) is Reading.TERMINATING


@pytest.mark.parametrize(
    "conditions",
    [
        [("Ready", "True"), ("InferenceReady", "False")],
        [("Reconciling", "True"), ("Stalled", "True"), ("Ready", "False")],
        [("ResourceReady", "True")],
    ],
)
def test_the_check_finds_what_would_mislead(conditions: Any) -> None:
    obj = {
        "metadata": {"generation": 1},
        "status": {
            "observedGeneration": 1,
            "state": "Ready",
            "conditions": [
                {"type": t, "status": s, "observedGeneration": 1} for t, s in conditions
            ],
        },
    }
    with pytest.raises(AssertionError):
        kstatus.check([obj, obj])
    with pytest.raises(AssertionError):
        kstatus.check([{"metadata": {"generation": 1}}])
