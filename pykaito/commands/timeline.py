"""The steps from an accepted Workspace to a served model, with durations: pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from pykaito.api.conditions import WorkspaceCondition
from pykaito.commands.readings import Outcome, condition, doing, outcome
from pykaito.commands.snapshot import Snapshot
from pykaito.commands.times import parse_time
from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.stages import (
    Milestone,
    Stage,
    durations,
    milestones,
)
from pykaito.reconcilers.inference.templates import current_pods


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
    #: The stage of a start that it ends, or is a part of.
    stage: Stage | None = None
    #: What goes on in it now, where that is known.
    doing: str | None = None


def timeline(seen: Snapshot, now: datetime) -> list[Step]:
    """Return the steps in order; times are read from the objects themselves."""
    way = _steps([*_way(seen), _serving(seen)])
    last = max((n for n, found in enumerate(way) if found.at), default=-1)
    steps: list[Step] = []
    before: datetime | None = None
    for number, found in enumerate(way):
        at, stage, seconds = found.at, found.stage, None
        if at is not None and any(f.at and f.at < at for f in way[number + 1 :]):
            steps.append(Step(found.step, Progress.DONE, at, again=True, stage=stage))
        elif at is not None:
            if before is not None and not found.again:
                seconds = (at - before).total_seconds()
            steps.append(
                Step(found.step, Progress.DONE, at, seconds, found.again, stage)
            )
            before = at
        elif number < last:
            steps.append(Step(found.step, Progress.UNKNOWN, stage=stage))
        elif number == last + 1:
            seconds = (now - before).total_seconds() if before else None
            told = _doing(seen) if stage is Stage.LOAD else None
            steps.append(
                Step(found.step, Progress.NOW, None, seconds, stage=stage, doing=told)
            )
        else:
            steps.append(Step(found.step, Progress.LATER, stage=stage))
    return steps


def stages(seen: Snapshot) -> dict[str, float]:
    """Return the seconds of each stage that is over, as the operator measures them."""
    return {str(stage): seconds for stage, seconds in durations(_way(seen)).items()}


def _way(seen: Snapshot) -> list[Milestone]:
    return milestones(seen.workspace, seen.machines, _pods(seen))


def _pods(seen: Snapshot) -> Sequence[Object]:
    for deployment in seen.deployments[:1]:
        return current_pods(deployment, seen.pods)
    return seen.pods


def _doing(seen: Snapshot) -> str | None:
    told = (doing(seen.workspace, pod) for pod in _pods(seen))
    return next(filter(None, told), None)


def _serving(seen: Snapshot) -> Milestone:
    found = condition(seen.workspace, WorkspaceCondition.INFERENCE_READY)
    # Ready also turns when a node comes and goes while the model is served.
    serves = found.get("status") == "True" and outcome(seen.workspace) is Outcome.READY
    return Milestone(
        "serving", parse_time(found.get("lastTransitionTime")) if serves else None
    )


def _steps(found: Iterable[Milestone]) -> list[Milestone]:
    """Return one milestone for each step: its last, by which all parts are done."""
    steps: list[Milestone] = []
    for milestone in found:
        if steps and steps[-1].step == milestone.step:
            again = steps.pop().again or milestone.again
            steps.append(replace(milestone, again=again))
        else:
            steps.append(milestone)
    return steps
