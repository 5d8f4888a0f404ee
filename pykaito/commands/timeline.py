"""The steps from an accepted Workspace to a served model, with durations: pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pykaito.api.conditions import MachineCondition, WorkspaceCondition
from pykaito.commands.readings import Outcome, condition, is_leaving, outcome, status
from pykaito.commands.snapshot import Snapshot
from pykaito.commands.times import parse_time
from pykaito.operator.objects import Object
from pykaito.reconcilers.workspace.machines import is_made

#: The init container that brings the weights of a private image.
WEIGHTS = "weights"


class Progress(StrEnum):
    """How far a step is."""

    DONE = "done"
    NOW = "now"
    LATER = "later"
    #: A later step is done, and nothing that can be read says when this one was.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way."""

    name: str
    progress: Progress
    at: datetime | None = None
    #: Seconds since the step before, or so far for the step under way.
    seconds: float | None = None
    #: It was undone and done once more; when it was first done is not kept.
    again: bool = False


def timeline(seen: Snapshot, now: datetime) -> list[Step]:
    """Return the steps in order; times are read from the objects themselves."""
    times = list(_times(seen))
    done = [number for number, (_, at) in enumerate(times) if at]
    last = done[-1] if done else -1
    steps: list[Step] = []
    before: datetime | None = None
    for number, (step, at) in enumerate(times):
        if at is not None and any(t and t < at for _, t in times[number + 1 :]):
            steps.append(Step(step, Progress.DONE, at, again=True))
        elif at is not None:
            seconds = (at - before).total_seconds() if before else None
            steps.append(Step(step, Progress.DONE, at, seconds))
            before = at
        elif number < last:
            steps.append(Step(step, Progress.UNKNOWN))
        elif number == last + 1:
            so_far = (now - before).total_seconds() if before else None
            steps.append(Step(step, Progress.NOW, seconds=so_far))
        else:
            steps.append(Step(step, Progress.LATER))
    return steps


def _times(seen: Snapshot) -> Iterable[tuple[str, datetime | None]]:
    workspace = seen.workspace
    pods = [pod for pod in seen.pods if not is_leaving(pod)]
    yield "accepted", parse_time(workspace["metadata"].get("creationTimestamp"))
    if made := [machine for machine in seen.machines if is_made(machine)]:
        yield "node asked for", _last(_told(machine, "launchTime") for machine in made)
        for step, kind in (
            ("node launched", MachineCondition.LAUNCHED),
            ("node joined", MachineCondition.REGISTERED),
        ):
            yield step, _last(_since(machine, kind) for machine in made)
        yield "node ready", _last(_told(machine, "readyTime") for machine in made)
    yield "nodes ready", _since(workspace, WorkspaceCondition.RESOURCE_READY)
    yield "pod scheduled", _last(_since(pod, "PodScheduled") for pod in pods)
    if _copies_weights(workspace):
        yield "weights copied", _last(map(_weights_copied, pods))
    yield "model loaded", _last(_since(pod, "ContainersReady") for pod in pods)
    # Ready also turns when a node comes and goes while the model is served.
    serves = outcome(workspace) is Outcome.READY
    since = _since(workspace, WorkspaceCondition.INFERENCE_READY)
    yield "serving", since if serves else None


def _since(obj: Object, kind: str) -> datetime | None:
    """Return since when a condition is True, None if it is not."""
    found = condition(obj, kind)
    is_true = found.get("status") == "True"
    return parse_time(found.get("lastTransitionTime")) if is_true else None


def _told(machine: Object, field: str) -> datetime | None:
    """Return a time of a Machine's status, None if it has not come."""
    return parse_time(status(machine).get(field))


def _last(times: Iterable[datetime | None]) -> datetime | None:
    """Return the latest, None if one has not come or there are none."""
    found: Sequence[datetime | None] = list(times)
    come = [time for time in found if time is not None]
    return max(come) if come and len(come) == len(found) else None


def _weights_copied(pod: Object) -> datetime | None:
    for container in (pod.get("status") or {}).get("initContainerStatuses") or ():
        ended: dict[str, Any] = (container.get("state") or {}).get("terminated") or {}
        if container["name"] == WEIGHTS and ended.get("exitCode") == 0:
            return parse_time(ended.get("finishedAt"))
    return None


def _copies_weights(workspace: Object) -> bool:
    preset = (workspace.get("inference") or {}).get("preset") or {}
    return bool((preset.get("presetOptions") or {}).get("image"))
