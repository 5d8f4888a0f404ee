"""What to do next for a Machine: a pure function of what is known of it.

A Machine outlives the instances that are made for it. Where one cannot be had, is
lost, or does not become a node in time, it is given back, and after a pause another one
is asked for. All that this needs to know is in the Machine's status, so that a restart
changes nothing:

    nothing there    ── launched ──────────────────────────▶ launched
    launched         ── Ready ─────────────────────────────▶ ready, failures forgotten
    launched, ready  ── failed, lost or overdue ───────────▶ replacing
    replacing        ── nothing is left of it ─────────────▶ nothing there, for a pause
    ready            ── lost or overdue, and not replaced ─▶ failed, until it recovers
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pykaito.api.conditions import MachineCondition
from pykaito.api.meta import Condition
from pykaito.api.v1alpha1.machine import (
    MachineFailure,
    MachinePhase,
    MachineStatus,
)
from pykaito.operator.backoff import exponential
from pykaito.provisioners.errors import LaunchError, ProvisionError
from pykaito.provisioners.protocol import Observation

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 1800.0
"""Seconds between tries: thirty after the first failure, doubled by each further one,
at most half an hour. A cloud that had no machine a minute ago seldom has one now, and
each try may cost one that is paid for."""


STEADY = timedelta(minutes=5)
"""A node that was in use for this long and is lost is replaced without a pause."""


class Repair(StrEnum):
    """What happens to a node that is lost, not Ready, or without what was asked for."""

    REPLACE = "replace"
    REPORT = "report"


class LifecycleReason(StrEnum):
    """Why an instance was given up by this operator, as one word."""

    INSTANCE_LOST = "InstanceLost"
    LAUNCH_TIMEOUT = "LaunchTimeout"
    NODE_LOST = "NodeLost"
    NODE_UNHEALTHY = "NodeUnhealthy"


class InstanceLostError(LaunchError):
    """What was made is gone, and nobody here took it away."""

    reason = LifecycleReason.INSTANCE_LOST


class LaunchTimeoutError(LaunchError):
    """The instance did not become a node in time."""

    reason = LifecycleReason.LAUNCH_TIMEOUT


class NodeLostError(LaunchError):
    """The node went away and did not come back in time."""

    reason = LifecycleReason.NODE_LOST


class NodeUnhealthyError(LaunchError):
    """The node is there, and has not been fit for use for too long."""

    reason = LifecycleReason.NODE_UNHEALTHY


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient to be, and what to do then."""

    repair: Repair = Repair.REPLACE
    #: Seconds that an instance may take to become a node.
    launch_seconds: float = 1800.0
    #: Seconds that a node may be away, not Ready, or without what was asked for.
    node_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Launch:
    """Ask for an instance."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing before that time."""

    until: datetime


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Release the instance; ``failure`` is why, where that is not told yet."""

    failure: ProvisionError | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Tell that the instance is gone, and pause."""

    failure: ProvisionError


@dataclass(frozen=True, slots=True)
class Fail:
    """Tell that the node is lost, and leave the rest to people."""

    failure: ProvisionError


@dataclass(frozen=True, slots=True)
class Keep:
    """Go on with what there is; ``until`` is when it becomes too late."""

    until: datetime | None = None


Step = Launch | Pause | GiveBack | Lost | Fail | Keep


def decide(
    status: MachineStatus,
    seen: Observation,
    policy: Policy,
    now: datetime,
    *,
    makes_nodes: bool,
) -> Step:
    """Return what to do next for a Machine that is wanted.

    Args:
        status: as it is written.
        seen: how far the instance is.
        policy: how patient to be.
        now: the time.
        makes_nodes: whether the provisioner can make another one.
    """
    replacing = status.phase is MachinePhase.REPLACING
    if not seen.exists:
        if status.launch_time is None or replacing:
            return _launch(status, now)
        failure = seen.failure or InstanceLostError(
            "what was made for the Machine is gone; nobody asked for that here"
        )
        return _repair(status, policy, failure, gone=True)
    if replacing:
        return GiveBack()
    if seen.failure is not None and makes_nodes:
        return _repair(status, policy, seen.failure)
    if seen.initialized.ok or seen.stopped:
        return Keep()
    failure, since = _trouble(status, seen, now)
    waiting = isinstance(failure, LaunchTimeoutError)
    if waiting and not makes_nodes:
        # A prepared node that was never there: whoever prepares it takes their time.
        return Keep()
    patience = policy.launch_seconds if waiting else policy.node_seconds
    late = since + timedelta(seconds=patience)
    if now < late:
        return Keep(until=late)
    return _repair(status, policy, failure) if makes_nodes else Fail(failure)


def _launch(status: MachineStatus, now: datetime) -> Step:
    last = status.last_failure
    # A failure of the future was told by a clock that has been set back since.
    if last is not None and last.time <= now < last.retry_time:
        return Pause(last.retry_time)
    if last is not None and status.phase is MachinePhase.REPLACING:
        # That the old instance is gone is written before a new one is asked for:
        # after a crash in between, the new one would be taken for the old.
        return Pause(now)
    return Launch()


def _repair(
    status: MachineStatus,
    policy: Policy,
    failure: ProvisionError,
    *,
    gone: bool = False,
) -> Step:
    """Replace an instance, or tell that it is lost where its node was in use."""
    if status.ready_time is not None and policy.repair is Repair.REPORT:
        return Fail(failure)
    return Lost(failure) if gone else GiveBack(failure)


def _trouble(
    status: MachineStatus, seen: Observation, now: datetime
) -> tuple[ProvisionError, datetime]:
    """Return what is wrong with an instance that is no fit node, and since when."""
    written = {condition.type: condition for condition in status.conditions}
    if seen.registered.ok:
        # It may not have been there when the node began to be unfit.
        joined = _since(written, MachineCondition.REGISTERED, now, "True")
        unfit = _since(written, MachineCondition.INITIALIZED, now)
        return NodeUnhealthyError(seen.initialized.message), max(joined, unfit)
    if status.node_name:
        away = _since(written, MachineCondition.REGISTERED, now)
        return NodeLostError(seen.registered.message or "its node is gone"), away
    launched = status.launch_time or _since(written, MachineCondition.READY, now)
    told = seen.registered if seen.launched.ok else seen.launched
    return LaunchTimeoutError(told.message or "it did not join the cluster"), launched


def _since(
    written: Mapping[str, Condition], kind: str, now: datetime, status: str = "False"
) -> datetime:
    """Return since when a condition has been so; now where it is not."""
    found = written.get(kind)
    if found is None or found.status != status:
        return now
    return found.last_transition_time


def failed(
    status: MachineStatus, failure: ProvisionError, message: str, now: datetime
) -> tuple[int, MachineFailure]:
    """Return the count of failures and the last one, for the status.

    Args:
        status: as it is written.
        failure: what happened.
        message: the same for people.
        now: the time.
    """
    pause = failure.retry_after
    if status.ready_time is not None and now - status.ready_time > STEADY:
        pause = 0.0
    if pause is None:
        pause = exponential(status.failures, base=FIRST_PAUSE, ceiling=LONGEST_PAUSE)
    # The API server keeps whole seconds, and a pause must not end before it began.
    retry = (now + timedelta(seconds=max(pause, 1.0))).replace(microsecond=0)
    return status.failures + 1, MachineFailure(
        reason=str(failure.reason),
        message=message,
        time=now.replace(microsecond=0),
        retry_time=retry,
    )
