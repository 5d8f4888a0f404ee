"""How far a NodeClaim is follows from its conditions and its node."""

from typing import Any

import pytest

from pykaito.provisioners.karpenter.progress import observe_claim
from pykaito.provisioners.karpenter.settings import Settings
from pykaito.provisioners.protocol import Observation
from tests.unit.provisioners.karpenter.machines import (
    CLAIM_NAME,
    INSTANCE,
    claim,
    condition,
    conditions,
    machine,
    node,
)

DONE = conditions(launched=True, registered=True, initialized=True)
JOINED = {"nodeName": "gpu-0", "providerID": "azure:///gpu-0"}


def seen(made: Any, on: Any = None) -> Observation:
    return observe_claim(machine(), made, on, Settings())


def test_a_claim_that_is_done_on_a_node_that_is_fit_is_ready() -> None:
    done = seen(claim(DONE, **JOINED), node())
    assert all(c.ok for c in (done.launched, done.registered, done.initialized))
    assert (done.node_name, done.provider_id) == ("gpu-0", "azure:///gpu-0")
    assert done.exists
    assert done.instance == INSTANCE


def test_a_claim_that_nobody_looked_at_says_whom_to_ask() -> None:
    found = seen(claim()).launched
    assert (found.ok, found.reason) == (False, "Launching")
    assert "see whether it runs, and serves AKSNodeClass.karpenter.azure" in (
        found.message
    )


def test_a_claim_that_waits_is_told_without_karpenters_empty_words() -> None:
    waits = seen(claim(conditions()))
    assert waits.launched.message == f"Karpenter is launching {CLAIM_NAME}"
    assert waits.launched.reason == "Launching"
    assert waits.registered.message == f"{CLAIM_NAME} is not Registered yet"
    assert not waits.initialized.ok


@pytest.mark.parametrize(
    ("reason", "message", "meaning"),
    [
        ("LaunchFailed", "QuotaExceeded: 0 of 24 cores left", "CloudQuotaExceeded"),
        ("LaunchFailed", "instance type not found", "LaunchFailed"),
    ],
)
def test_a_launch_that_fails_and_is_tried_again_is_told_in_karpenters_words(
    reason: str, message: str, meaning: str
) -> None:
    failing = claim([condition("Launched", "Unknown", reason, message)])
    found = seen(failing).launched
    assert not found.ok
    assert found.reason == meaning
    assert found.message == f"{CLAIM_NAME} is not Launched: {message}"


def test_a_step_that_waits_is_told_in_karpenters_words() -> None:
    waits = [
        condition("Launched", "True"),
        condition("Registered", "Unknown", "NodeNotFound", "Node not registered"),
    ]
    found = seen(claim(waits))
    assert found.launched.ok
    # NodeNotFound is of a node that was there.
    assert found.registered.reason == "NotRegistered"
    assert found.registered.message == (
        f"{CLAIM_NAME} is not Registered: Node not registered"
    )


def test_a_node_that_is_gone_is_missed_though_karpenters_condition_holds() -> None:
    found = seen(claim(DONE, **JOINED))
    assert found.launched.ok
    assert found.registered.reason == "NodeNotFound"
    assert found.registered.message == f"node 'gpu-0' of {CLAIM_NAME} is gone"
    assert not found.initialized.ok


@pytest.mark.parametrize(
    ("unfit", "reason"),
    [({"ready": "False"}, "NodeNotReady"), ({"gpus": "0"}, "ResourceMissing")],
)
def test_a_node_that_is_unfit_counts_though_karpenters_condition_holds(
    unfit: dict[str, str], reason: str
) -> None:
    found = seen(claim(DONE, **JOINED), node(**unfit))
    assert found.registered.ok
    assert found.initialized.reason == reason


def test_a_fit_node_is_not_used_before_karpenter_is_done_with_it() -> None:
    taint = condition("Initialized", "Unknown", "StartupTaintsExist", "x still exists")
    found = seen(claim([*DONE[:2], taint], **JOINED), node())
    assert found.initialized.reason == "NodeNotReady"
    assert "x still exists" in found.initialized.message


def test_a_claim_on_its_way_out_is_not_used_though_its_node_is_fit() -> None:
    found = seen(claim(DONE, leaving=True, **JOINED), node())
    assert not found.initialized.ok
    assert found.initialized.message == f"{CLAIM_NAME} is being deleted"


def test_pods_that_hold_up_a_deletion_are_told() -> None:
    draining = condition("Drained", "Unknown", "Draining", "Draining")
    found = seen(claim([*DONE, draining], leaving=True, **JOINED), node())
    assert found.initialized.message == (
        f"{CLAIM_NAME} is being deleted; pods that may not be evicted from its node "
        "keep it"
    )
