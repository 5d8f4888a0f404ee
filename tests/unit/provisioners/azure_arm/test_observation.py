"""How far a Machine is, from its pool and its node."""

from dataclasses import replace
from typing import Any

import pytest

from pykaito.api.parse import parse
from pykaito.api.v1alpha1.machine import Machine
from pykaito.provisioners.azure_arm.failures import CloudError, from_error
from pykaito.provisioners.azure_arm.observation import absent, observe, unknown
from pykaito.provisioners.azure_arm.pool import Pool
from pykaito.provisioners.errors import UnreachableError
from tests.unit.provisioners.azure_arm.azure_world import (
    POOL,
    SIZE,
    machine,
    raw_machine,
)

READY = Pool(POOL, "Succeeded", SIZE)
FAILED = replace(
    READY,
    state="Failed",
    error=from_error({"code": "AllocationFailed", "message": "there is none"}),
)


def node(ready: str = "True", gpus: str = "1") -> dict[str, Any]:
    return {
        "metadata": {"name": "aks-1"},
        "spec": {"providerID": "azure:///1"},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {"nvidia.com/gpu": gpus},
        },
    }


def test_a_pool_and_a_node_with_its_gpus_are_all_that_is_needed() -> None:
    seen = observe(machine(), READY, node())
    assert seen.launched.ok
    assert seen.registered.ok
    assert seen.initialized.ok
    assert (seen.node_name, seen.provider_id, seen.instance) == (
        "aks-1",
        "azure:///1",
        POOL,
    )


def test_a_pool_without_a_node_is_launched() -> None:
    seen = observe(machine(), READY, None)
    assert seen.launched.ok
    assert (seen.registered.ok, seen.registered.reason) == (False, "NotRegistered")
    assert seen.failure is None


@pytest.mark.parametrize("state", ["Creating", "Accepted", "Pending"])
def test_a_pool_that_is_being_made_is_not_launched(state: str) -> None:
    seen = observe(machine(), replace(READY, state=state), None)
    assert (seen.launched.ok, seen.launched.reason) == (False, "Launching")


@pytest.mark.parametrize("state", ["Updating", "Upgrading", "Scaling"])
def test_a_pool_that_is_worked_on_stays_launched(state: str) -> None:
    assert observe(machine(), replace(READY, state=state), node()).launched.ok


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_a_pool_that_failed_is_a_failure_in_azures_words(state: str) -> None:
    seen = observe(machine(), replace(FAILED, state=state), None)
    assert seen.failure is not None
    assert seen.failure.reason == "InsufficientCapacity"
    assert "there is none" in seen.launched.message
    assert state in seen.launched.message


def test_a_pool_that_failed_without_a_word_is_a_failure_too() -> None:
    seen = observe(machine(), replace(FAILED, error=None), None)
    assert seen.failure is not None
    assert seen.failure.reason == "LaunchFailed"


@pytest.mark.parametrize("pool", [READY, FAILED])
def test_a_pool_that_is_stopped_is_no_failure(pool: Pool) -> None:
    seen = observe(machine(), replace(pool, stopped=True), None)
    assert seen.failure is None
    assert seen.stopped
    assert "is stopped; start it" in seen.registered.message


def test_a_pool_whose_node_works_is_no_failure() -> None:
    assert observe(machine(), FAILED, node()).failure is None
    assert observe(machine(), FAILED, node(ready="False")).failure is not None


def test_what_is_not_known_is_there_if_it_was_asked_for() -> None:
    assert not unknown(machine(), POOL, None, None).exists
    raw = raw_machine() | {"status": {"launchTime": "2026-01-01T00:00:00Z"}}
    asked = parse(Machine, raw)
    seen = unknown(asked, POOL, None, UnreachableError("away"))
    assert seen.exists
    assert (seen.launched.reason, seen.launched.message) == (
        "ProvisionerUnreachable",
        "away",
    )
    assert seen.look_again is not None
    assert unknown(asked, POOL, node(), UnreachableError("away")).launched.ok


def test_a_pool_that_is_absent_leaves_nothing() -> None:
    assert not absent(POOL).exists


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("see https://a.b/c?sig=x&se=1 now", "see https://a.b/c now"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln!", "token [token]!"),
        ("plain", "plain"),
    ],
)
def test_what_azure_says_is_told_without_secrets(said: str, told: str) -> None:
    assert str(CloudError(said)) == told
