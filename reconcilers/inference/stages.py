"""Where the time of a start goes, from what Kubernetes reports of it: pure.

A start is a row of milestones, and the time between two of them goes into one stage.
Kubernetes keeps when something was last so, in whole seconds. The condition
PodReadyToStartContainers is no milestone: kubelets tell of it late, at times after the
container has started.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pykaito.api import labels
from pykaito.api.conditions import MachineCondition, WorkspaceCondition
from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.diagnosis import fields
from pykaito.reconcilers.inference.diagnosis.patience import moment
from pykaito.reconcilers.inference.templates import current_pods
from pykaito.reconcilers.workspace.machines import is_made

#: Kubernetes' own word for a rollout that is over. It is written once for each: a node
#: or a pod that comes back is none.
COMPLETE = "NewReplicaSetAvailable"


class Stage(StrEnum):
    """What the time of a start goes into. The values are those of a label."""

    #: A node is made: from asking for it until it is ready.
    NODE = "node"
    #: The pod waits for its node.
    SCHEDULE = "schedule"
    #: The node sets the pod up and pulls images.
    IMAGE = "image"
    #: Weights are copied out of their image.
    WEIGHTS = "weights"
    #: Adapters are copied out of theirs.
    ADAPTERS = "adapters"
    #: Init containers of the user's own template run.
    INIT = "init"
    #: The server is up and does not serve yet: it downloads, loads, compiles and
    #: generates a first token.
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Milestone:
    """A point on the way to a model that is served.

    Attributes:
        step: what was done by then; several in a row may be parts of the same.
        at: when that was, None if it is not or nothing says when.
        stage: what the time since the milestone before went into, if it is one.
        again: it was undone and done once more; when it was first done is not kept.
    """

    step: str
    at: datetime | None
    stage: Stage | None = None
    again: bool = False


#: The steps of init containers: that its image is there, and that it is done.
_INIT_STEPS: Mapping[Stage, tuple[str, str]] = {
    Stage.WEIGHTS: ("weights pulled", "weights copied"),
    Stage.ADAPTERS: ("adapters copied", "adapters copied"),
    Stage.INIT: ("init containers done", "init containers done"),
}
#: How their names begin.
_INIT_NAMES: Mapping[Stage, str] = {
    Stage.WEIGHTS: fields.WEIGHTS,
    Stage.ADAPTERS: fields.ADAPTER,
    Stage.INIT: "",
}


def milestones(
    workspace: Object, machines: Iterable[Object], pods: Iterable[Object]
) -> list[Milestone]:
    """Return the way from an accepted Workspace to a loaded model, in order.

    Of several machines or pods the last one counts, of a container that was restarted
    its last start. Pods that leave or have ended do not count.

    Args:
        workspace: the Workspace.
        machines: its own.
        pods: those of its current template.
    """
    living = [pod for pod in pods if not _is_over(pod)]
    servers = [_statuses(pod, "containerStatuses") for pod in living]
    return [
        Milestone("accepted", _created(workspace)),
        *_of_machines([machine for machine in machines if is_made(machine)]),
        Milestone("nodes ready", _since(workspace, WorkspaceCondition.RESOURCE_READY)),
        Milestone("pod created", _last(map(_created, living))),
        Milestone(
            "pod scheduled",
            _last(_since(pod, "PodScheduled") for pod in living),
            Stage.SCHEDULE,
        ),
        *(found for stage in _brought(workspace) for found in _of_init(stage, living)),
        _start("server started", servers),
        Milestone(
            "model loaded",
            _last(_since(pod, "ContainersReady") for pod in living),
            Stage.LOAD,
        ),
    ]


def durations(
    found: Iterable[Milestone], since: datetime | None = None
) -> dict[Stage, float]:
    """Return the seconds of each stage that is over and known in full.

    Args:
        found: the milestones in order.
        since: leave out what was done before.
    """
    spent: dict[Stage | None, float] = {}
    unknown: set[Stage | None] = set()
    before: datetime | None = None
    between: set[Stage | None] = set()
    for milestone in found:
        between.add(milestone.stage)
        if milestone.at is None:
            continue
        if before is None or milestone.again or len(between) > 1:
            unknown |= between
        elif since is None or milestone.at >= since:
            # Their times are by the clocks of different machines.
            seconds = max(0.0, (milestone.at - before).total_seconds())
            spent[milestone.stage] = spent.get(milestone.stage, 0.0) + seconds
        before, between = milestone.at, set()
    unknown |= between
    return {
        stage: seconds
        for stage, seconds in spent.items()
        if stage is not None and stage not in unknown
    }


def startup(
    workspace: Object,
    deployed: Object,
    machines: Iterable[Object],
    pods: Sequence[Object],
) -> dict[Stage, float]:
    """Return the seconds that each stage of a rollout took that has just ended.

    Nothing where another thing has ended, such as the absence of a node, or where it
    was told already that the model is served: each rollout is measured once, whichever
    process of the operator sees its end. A node that was there before it is no part of
    it.

    Args:
        workspace: as it reads before it is told that the model is served.
        deployed: the Deployment, which serves.
        machines: the Workspace's.
        pods: the Workspace's.
    """
    told = _condition(workspace, WorkspaceCondition.INFERENCE_READY)
    since = moment(told.get("lastTransitionTime"))
    rollout = _condition(deployed, "Progressing")
    ended = moment(rollout.get("lastUpdateTime"))
    if told.get("status") != "False" or rollout.get("reason") != COMPLETE:
        return {}
    if since is None or ended is None or ended < since:
        return {}
    return durations(
        milestones(workspace, machines, current_pods(deployed, pods)), since
    )


def _of_machines(made: Sequence[Object]) -> Iterator[Milestone]:
    if not made:
        return
    yield Milestone("node asked for", _last(_told(m, "launchTime") for m in made))
    for step, kind in (
        ("node launched", MachineCondition.LAUNCHED),
        ("node joined", MachineCondition.REGISTERED),
    ):
        yield Milestone(step, _last(_since(m, kind) for m in made), Stage.NODE)
    yield Milestone(
        "node ready", _last(_told(m, "readyTime") for m in made), Stage.NODE
    )


def _brought(workspace: Object) -> Iterator[Stage]:
    """Yield what init containers bring before the server starts."""
    inference = workspace.get("inference") or {}
    if template := inference.get("template"):
        if _ending_init_containers(template):
            yield Stage.INIT
        return
    image = ((inference.get("preset") or {}).get("presetOptions") or {}).get("image")
    annotations = workspace["metadata"].get("annotations") or {}
    # One that is mounted is there with the pod's other images.
    if image and annotations.get(labels.MOUNT_WEIGHTS_IMAGE) != "true":
        yield Stage.WEIGHTS
    adapters = inference.get("adapters") or ()
    if any((adapter.get("source") or {}).get("image") for adapter in adapters):
        yield Stage.ADAPTERS


def _of_init(stage: Stage, pods: Sequence[Object]) -> Iterator[Milestone]:
    """Yield the milestones of the init containers of a stage, in the order they run.

    What runs before them, such as the tool that they copy with, takes no time to speak
    of, and is taken for a part of pulling the first one's image.
    """
    pulled, done = _INIT_STEPS[stage]
    names = dict.fromkeys(
        named
        for pod in pods
        for named in _ending_init_containers(pod)
        if named.startswith(_INIT_NAMES[stage])
    )
    for named in names or [""]:
        found = [
            [s for s in _statuses(pod, "initContainerStatuses") if s["name"] == named]
            for pod in pods
        ]
        yield _start(pulled, found)
        yield Milestone(done, _last(_finished(of) for of in found), stage)


def _ending_init_containers(pod: Mapping[str, Any]) -> list[str]:
    """Return the names of a pod's init containers but for sidecars, which run on."""
    return [
        container["name"]
        for container in (pod.get("spec") or {}).get("initContainers") or ()
        if container.get("restartPolicy") != "Always"
    ]


def _start(step: str, found: Sequence[Sequence[Mapping[str, Any]]]) -> Milestone:
    """Return when containers started, for which their images had to be there."""
    again = any(status.get("restartCount") for of_pod in found for status in of_pod)
    at = _last(_last(map(_started, of_pod)) for of_pod in found)
    return Milestone(step, at, Stage.IMAGE, again=again)


def _started(container: Mapping[str, Any]) -> datetime | None:
    state = container.get("state") or {}
    ended = state.get("terminated") or {}
    # One that could not be started has a time as well, which means nothing.
    succeeded = ended if ended.get("exitCode") == 0 else {}
    return moment((state.get("running") or succeeded).get("startedAt"))


def _finished(containers: Sequence[Mapping[str, Any]]) -> datetime | None:
    ends = [(c.get("state") or {}).get("terminated") or {} for c in containers]
    return _last(
        moment(end.get("finishedAt")) if end.get("exitCode") == 0 else None
        for end in ends
    )


def _is_over(pod: Object) -> bool:
    """Whether a pod leaves or has ended: others take its place."""
    phase = (pod.get("status") or {}).get("phase")
    leaving = pod["metadata"].get("deletionTimestamp")
    return bool(leaving) or phase in {"Failed", "Succeeded"}


def _statuses(pod: Object, kind: str) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = (pod.get("status") or {}).get(kind) or ()
    return found


def _created(obj: Object) -> datetime | None:
    return moment(obj["metadata"].get("creationTimestamp"))


def _told(machine: Object, field: str) -> datetime | None:
    """Return a time of a Machine's status, None if it has not come."""
    return moment((machine.get("status") or {}).get(field))


def _since(obj: Object, kind: str) -> datetime | None:
    """Return since when a condition is True, None if it is not."""
    found = _condition(obj, kind)
    is_true = found.get("status") == "True"
    return moment(found.get("lastTransitionTime")) if is_true else None


def _condition(obj: Object, kind: str) -> Mapping[str, Any]:
    for found in (obj.get("status") or {}).get("conditions") or ():
        if found.get("type") == kind:
            return dict(found)
    return {}


def _last(times: Iterable[datetime | None]) -> datetime | None:
    """Return the latest, None if one has not come or there are none."""
    found = list(times)
    come = [time for time in found if time is not None]
    return max(come) if come and len(come) == len(found) else None
