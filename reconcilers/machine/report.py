"""What is written into a Machine's status beside its conditions: pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pykaito.api.v1alpha1.machine import MachineFailure, MachinePhase, MachineStatus
from pykaito.provisioners.protocol import Observation
from pykaito.reconcilers.machine.status import between_tries


@dataclass(frozen=True, slots=True)
class Report:
    """How a Machine is, and what the next decision about it needs."""

    seen: Observation
    phase: MachinePhase
    launch_time: datetime | None
    ready_time: datetime | None = None
    failures: int = 0
    last_failure: MachineFailure | None = None


def without_instance(failures: int, last: MachineFailure) -> Report:
    """Return the report of a Machine that has no instance until the next try."""
    return Report(
        between_tries(failures, last),
        MachinePhase.PENDING,
        launch_time=None,
        failures=failures,
        last_failure=last,
    )


def pausing(status: MachineStatus) -> Report:
    """Return the report of a Machine between two tries, as it is written.

    Raises:
        ValueError: nothing failed, so there is nothing to wait for.
    """
    if status.last_failure is None:
        raise ValueError("a pause without a failure")
    return without_instance(status.failures, status.last_failure)


def details(report: Report) -> dict[str, Any]:
    """Return the fields that are there only where they say something."""
    details: dict[str, Any] = {
        "nodeName": report.seen.node_name,
        "providerID": report.seen.provider_id,
        "instance": report.seen.instance,
        "failures": report.failures,
    }
    for field, moment in (
        ("launchTime", report.launch_time),
        ("readyTime", report.ready_time),
    ):
        if moment is not None:
            details[field] = _seconds(moment)
    if (last := report.last_failure) is not None:
        details["lastFailure"] = {
            "reason": last.reason,
            "message": last.message,
            "time": _seconds(last.time),
            "retryTime": _seconds(last.retry_time),
        }
    return {field: value for field, value in details.items() if value}


def _seconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
