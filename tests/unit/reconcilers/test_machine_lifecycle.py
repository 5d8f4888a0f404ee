"""What is done next for a Machine, from its status and what its provisioner sees."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykaito.api.parse import parse
from pykaito.api.v1alpha1.machine import MachinePhase, MachineStatus
from pykaito.provisioners.errors import LaunchError, QuotaError, ThrottledError
from pykaito.provisioners.protocol import Check, Observation
from pykaito.reconcilers.machine.lifecycle import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Fail,
    GiveBack,
    InstanceLostError,
    Keep,
    Launch,
    LaunchTimeoutError,
    Lost,
    NodeLostError,
    NodeUnhealthyError,
    Pause,
    Policy,
    Repair,
    Step,
    decide,
    failed,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
POLICY = Policy(launch_seconds=1800, node_seconds=600)
REPORTING = Policy(Repair.REPORT, launch_seconds=1800, node_seconds=600)

YES, NO = Check(ok=True, reason="Yes"), Check(ok=False, reason="No", message="not yet")
GONE = Observation(NO, NO, NO, exists=False)
ASKED = Observation(NO, NO, NO)
LAUNCHED = Observation(YES, NO, NO)
UNFIT = Observation(YES, YES, NO, node_name="n")
READY = Observation(YES, YES, YES, node_name="n")


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def status(
    phase: str | None = None,
    *,
    launched: float | None = None,
    retry: float | None = None,
    failed_at: float = 60,
    node: str = "",
    ready_once: bool = False,
    **conditions: tuple[str, float],
) -> MachineStatus:
    """Return a status: how many seconds ago what happened, and what is so since."""
    obj: dict[str, Any] = {
        "conditions": [
            {
                "type": kind.capitalize(),
                "status": value,
                "lastTransitionTime": ago(since),
                "reason": "Why",
                "message": "",
            }
            for kind, (value, since) in conditions.items()
        ]
    }
    if phase:
        obj["phase"] = phase
    if launched is not None:
        obj["launchTime"] = ago(launched)
    if node:
        obj["nodeName"] = node
    if ready_once:
        obj["readyTime"] = ago(launched or 0)
    if retry is not None:
        times = {"time": ago(failed_at), "retryTime": ago(-retry)}
        obj["lastFailure"] = {"reason": "No", "message": "no", **times}
        obj["failures"] = 1
    return parse(MachineStatus, obj)


def step(
    written: MachineStatus,
    seen: Observation,
    policy: Policy = POLICY,
    *,
    makes_nodes: bool = True,
) -> Step:
    return decide(written, seen, policy, NOW, makes_nodes=makes_nodes)


def test_a_new_machine_is_launched() -> None:
    assert step(status(), GONE) == Launch()


def test_after_a_failure_there_is_a_pause_and_then_another_try() -> None:
    waiting = status("Pending", retry=20)
    assert step(waiting, GONE) == Pause(NOW + timedelta(seconds=20))
    assert step(status("Pending", retry=-1), GONE) == Launch()


def test_a_clock_that_was_set_back_makes_no_machine_wait_for_its_future() -> None:
    """Until then it was a day ahead."""
    ahead = status("Pending", failed_at=-86_400, retry=86_430)
    assert step(ahead, GONE) == Launch()


def test_what_a_crash_left_half_told_is_taken_up_and_not_asked_for_again() -> None:
    assert isinstance(step(status(), ASKED), Keep)


def test_an_instance_that_vanished_is_told_before_another_is_asked_for() -> None:
    found = step(status("Ready", launched=60), GONE)
    assert isinstance(found, Lost)
    assert isinstance(found.failure, InstanceLostError)


def test_what_the_provisioner_says_of_a_vanished_instance_is_what_is_told() -> None:
    why = QuotaError("no quota")
    seen = Observation(NO, NO, NO, exists=False, failure=why)
    assert step(status("Pending", launched=5), seen) == Lost(why)


def test_an_instance_that_failed_is_given_back() -> None:
    why = LaunchError("disk image is broken")
    seen = Observation(NO, NO, NO, failure=why)
    assert step(status("Pending", launched=5), seen) == GiveBack(why)


def test_giving_back_goes_on_until_nothing_is_left() -> None:
    assert step(status("Replacing", launched=5, retry=10), READY) == GiveBack()
    assert isinstance(step(status("Replacing", launched=5, retry=10), GONE), Pause)


def test_that_an_instance_is_gone_is_written_before_another_is_asked_for() -> None:
    assert step(status("Replacing", launched=5, retry=-1), GONE) == Pause(NOW)
    assert step(status("Pending", retry=-1), GONE) == Launch()


def test_an_instance_has_its_time_to_become_a_node() -> None:
    fresh = status("Launched", launched=100, registered=("False", 100))
    assert step(fresh, LAUNCHED) == Keep(until=NOW + timedelta(seconds=1700))
    late = status("Launched", launched=1801, registered=("False", 1801))
    found = step(late, LAUNCHED)
    assert isinstance(found, GiveBack)
    assert isinstance(found.failure, LaunchTimeoutError)


def test_the_time_counts_from_the_launch_and_not_from_the_first_try() -> None:
    """Quota may have been missing for hours before."""
    written = status("Launched", launched=100, registered=("False", 90_000))
    assert step(written, LAUNCHED) == Keep(until=NOW + timedelta(seconds=1700))


def test_a_node_that_left_has_a_while_to_come_back() -> None:
    just_now = status("Ready", launched=9000, node="n", registered=("True", 8000))
    assert step(just_now, LAUNCHED) == Keep(until=NOW + timedelta(seconds=600))
    a_while = status("Launched", launched=9000, node="n", registered=("False", 601))
    found = step(a_while, LAUNCHED)
    assert isinstance(found, GiveBack)
    assert isinstance(found.failure, NodeLostError)


def test_a_node_that_is_not_fit_has_a_while_to_mend() -> None:
    young = status(
        "Registered", launched=500, registered=("True", 60), initialized=("False", 500)
    )
    assert step(young, UNFIT) == Keep(until=NOW + timedelta(seconds=540))
    old = status(
        "Registered",
        launched=9000,
        registered=("True", 700),
        initialized=("False", 650),
    )
    found = step(old, UNFIT)
    assert isinstance(found, GiveBack)
    assert isinstance(found.failure, NodeUnhealthyError)
    assert str(found.failure) == "not yet"


def test_a_node_in_use_is_left_to_people_where_they_want_to_know_first() -> None:
    written = status(
        "Registered",
        launched=9000,
        ready_once=True,
        registered=("True", 8000),
        initialized=("False", 700),
    )
    assert isinstance(step(written, UNFIT, REPORTING), Fail)
    gone = status("Ready", launched=60, ready_once=True)
    assert isinstance(step(gone, GONE, REPORTING), Fail)
    assert step(written, READY, REPORTING) == Keep()


def test_what_never_was_a_node_is_replaced_even_then() -> None:
    why = QuotaError("no quota")
    seen = Observation(NO, NO, NO, exists=False, failure=why)
    assert step(status("Pending", launched=5), seen, REPORTING) == Lost(why)


def test_a_prepared_node_is_never_given_back_and_may_fail() -> None:
    written = status("Registered", registered=("True", 700), initialized=("False", 650))
    assert isinstance(step(written, UNFIT, makes_nodes=False), Fail)
    absent = status("Pending", ready=("False", 9000), registered=("False", 9000))
    assert step(absent, LAUNCHED, makes_nodes=False) == Keep()


def test_a_ready_node_is_kept_whatever_was_before() -> None:
    assert step(status("Pending", launched=9000, retry=100), READY) == Keep()


@pytest.mark.parametrize(
    ("failures", "pause"), [(0, FIRST_PAUSE), (1, 60), (2, 120), (30, LONGEST_PAUSE)]
)
def test_pauses_double_up_to_half_an_hour(failures: int, pause: float) -> None:
    written = parse(MachineStatus, {"failures": failures})
    count, last = failed(written, LaunchError("no"), "no", NOW)
    assert count == failures + 1
    assert last.retry_time == NOW + timedelta(seconds=pause)


def test_a_cloud_that_says_when_to_come_back_is_asked_then() -> None:
    slow = ThrottledError("too many", retry_after=17)
    _, last = failed(parse(MachineStatus, {"failures": 5}), slow, "too many", NOW)
    assert last.retry_time == NOW + timedelta(seconds=17)
    assert last.reason == "CloudThrottled"


def test_a_node_that_was_in_use_is_replaced_without_a_pause() -> None:
    used = status("Ready", launched=301, ready_once=True)
    _, last = failed(used, InstanceLostError("preempted"), "preempted", NOW)
    assert last.retry_time == NOW + timedelta(seconds=1)
    flapping = status("Ready", launched=299, ready_once=True)
    _, last = failed(flapping, InstanceLostError("preempted"), "preempted", NOW)
    assert last.retry_time == NOW + timedelta(seconds=FIRST_PAUSE)


CHECKS = st.sampled_from([YES, NO])


@given(
    phase=st.sampled_from([None, *MachinePhase]),
    launched=st.none() | st.integers(0, 100_000),
    retry=st.none() | st.integers(-10_000, 10_000),
    registered=st.tuples(st.sampled_from(["True", "False"]), st.integers(0, 100_000)),
    initialized=st.tuples(st.sampled_from(["True", "False"]), st.integers(0, 100_000)),
    seen=st.builds(
        Observation, CHECKS, CHECKS, CHECKS, exists=st.booleans(),
        failure=st.none() | st.just(LaunchError("why")),
    ),
    policy=st.sampled_from([POLICY, REPORTING]),
    makes_nodes=st.booleans(),
    ready_once=st.booleans(),
)  # fmt: skip
def test_whatever_is_seen_nothing_is_asked_for_beside_what_exists(
    phase: str | None,
    launched: int | None,
    retry: int | None,
    registered: tuple[str, float],
    initialized: tuple[str, float],
    seen: Observation,
    policy: Policy,
    makes_nodes: bool,
    ready_once: bool,
) -> None:
    written = status(
        phase, launched=launched, retry=retry, registered=registered,
        initialized=initialized, ready_once=ready_once,
    )  # fmt: skip
    found = step(written, seen, policy, makes_nodes=makes_nodes)
    if isinstance(found, Launch):
        assert not seen.exists
        assert retry is None or retry <= 0
    if isinstance(found, GiveBack):
        assert seen.exists
    if isinstance(found, Keep) and found.until is not None:
        assert found.until > NOW
    if isinstance(found, GiveBack | Lost) and policy is REPORTING:
        assert not ready_once or phase == "Replacing"
