"""What Karpenter says of a failure is told by its meaning, in its own words."""

import pytest

from pykaito.provisioners.errors import (
    InsufficientCapacityError,
    LaunchError,
    ProvisionError,
    QuotaError,
    TargetNotFoundError,
    ThrottledError,
    UnauthorizedError,
)
from pykaito.provisioners.karpenter.failures import classify, failure, last_warning
from tests.unit.provisioners.karpenter.machines import claim, warning

CAPACITY = "InsufficientCapacityError"


@pytest.mark.parametrize(
    ("reason", "message", "meaning"),
    [
        (CAPACITY, "no instances left", InsufficientCapacityError),
        ("LaunchFailed", "ZonalAllocationFailed", InsufficientCapacityError),
        (
            "LaunchFailed",
            "all requested instance types were unavailable during launch",
            InsufficientCapacityError,
        ),
        (CAPACITY, "SubscriptionQuotaReached: 0 cores left", QuotaError),
        (CAPACITY, "VcpuLimitExceeded: you may have 0 vCPUs", QuotaError),
        ("LaunchFailed", "RequestLimitExceeded", ThrottledError),
        ("LaunchFailed", "UnauthorizedOperation: no", UnauthorizedError),
        ("LaunchFailed", "403 AuthorizationFailed", UnauthorizedError),
        (
            CAPACITY,
            'resolving node class from nodeclaim, kwoknodeclasses "x" not found',
            TargetNotFoundError,
        ),
        ("FailedResolvingNodeClass", "no", TargetNotFoundError),
        ("NodeClassNotReady", "the subnet is being read", LaunchError),
        ("LaunchFailed", "503 service unavailable", LaunchError),
    ],
)
def test_each_clouds_words_have_their_meaning(
    reason: str, message: str, meaning: type[ProvisionError]
) -> None:
    assert classify(reason, message) is meaning


def test_the_failure_says_what_was_asked_for_and_what_the_cloud_said() -> None:
    told = failure(
        "could not launch g6.xlarge", CAPACITY, "NodeClaim x event: no\n  g6 today"
    )
    assert isinstance(told, InsufficientCapacityError)
    assert str(told) == "Karpenter could not launch g6.xlarge: no g6 today"


def test_a_failure_without_a_message_is_told_by_its_reason() -> None:
    assert str(failure("a", "LaunchFailed", "")).endswith(": LaunchFailed")


def test_the_latest_warning_about_the_claim_counts() -> None:
    made, other = claim(), claim(name="another")
    events = [
        warning(made, CAPACITY, "second", "12:00:02"),
        warning(made, CAPACITY, "first", "12:00:01"),
        warning(other, CAPACITY, "of another", "12:00:03"),
        warning(made, "UnregisteredTaintMissing", "beside the point", "12:00:04"),
        warning(made, "Fine", "no warning", "12:00:05") | {"type": "Normal"},
    ]
    found = last_warning(events, made)
    assert found is not None
    assert found.message == "second"
    assert last_warning(events[2:], made) is None
