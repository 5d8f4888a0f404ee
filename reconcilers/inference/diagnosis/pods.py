"""Why the pods of a workload do not serve yet, from what the kubelet reports: pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pykaito.api.conditions import InferenceReason
from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.diagnosis import image_pulls, starts
from pykaito.reconcilers.inference.diagnosis.endings import crash, memory_failure
from pykaito.reconcilers.inference.diagnosis.evictions import eviction, is_evicted
from pykaito.reconcilers.inference.diagnosis.image_pulls import pull_failure
from pykaito.reconcilers.inference.diagnosis.patience import ended_lately, settles_in
from pykaito.reconcilers.inference.diagnosis.pod_view import PodView
from pykaito.reconcilers.inference.diagnosis.progress import progress
from pykaito.reconcilers.inference.diagnosis.scheduling import (
    is_turned_away,
    is_unschedulable,
    turned_away,
    unschedulable,
)
from pykaito.reconcilers.inference.diagnosis.starts import (
    hold_up,
    mount_failure,
    start_failure,
)
from pykaito.reconcilers.inference.diagnosis.verdict import Diagnosis, pending
from pykaito.reconcilers.inference.loading import Report

Reported = Callable[[Object], Report | None]
"""Returns how far a pod's model server says that it is, if it says so."""

#: The first of these that any pod shows is told: the further left, the surer
#: that a person has to act.
PRIORITY = (
    InferenceReason.CONTAINER_OOM_KILLED,
    InferenceReason.IMAGE_PULL_ERROR,
    InferenceReason.CONTAINER_START_ERROR,
    InferenceReason.CONTAINER_CRASH_LOOP_BACK_OFF,
    InferenceReason.POD_EVICTED,
    InferenceReason.NODE_DISK_PRESSURE,
    InferenceReason.NODE_MEMORY_PRESSURE,
    InferenceReason.UNSCHEDULABLE,
    InferenceReason.PENDING,
)
_RANK: Mapping[str, int] = {reason: rank for rank, reason in enumerate(PRIORITY)}


def unreported(_: Object) -> None:
    """Say nothing, where no pod was asked."""


def diagnose(
    pods: Sequence[Object],
    workspace: Object,
    now: datetime,
    reported: Reported = unreported,
    settling: timedelta = timedelta(),
) -> Diagnosis:
    """Return the worst of what the pods show, or how far they are.

    Pods that have ended, as by an eviction, stay for a record while others take
    their place: they count only as long as those do not come along.

    Args:
        pods: those of the Workspace.
        workspace: whose fields a remedy names.
        now: the time.
        reported: what pods say themselves.
        settling: for how long a pod has to be ready until its Deployment counts it.
    """
    views = [PodView(pod, workspace, now, reported(pod), settling) for pod in pods]
    living = [view for view in views if not _has_ended(view)]
    findings = [finding for view in living for finding in _of_pod(view)]
    if not all(f.progressing for f in findings) or not _is_replaced(views, living):
        ended = [view for view in views if _has_ended(view)]
        findings += [finding for view in ended for finding in _of_pod(view)]
    if not findings:
        if any(_is_ready(view) for view in views):
            return pending("waiting for the ready pods to be counted")
        return pending("waiting for the workload's pod to be created")
    worst = min(findings, key=lambda finding: _RANK[finding.reason])
    times = [f.look_again for f in findings if f.look_again is not None]
    return replace(worst, look_again=min(times, default=None))


def _is_replaced(views: Sequence[PodView], living: Sequence[PodView]) -> bool:
    """Whether pods that have ended are made up for.

    A pod that runs makes up for one that ended, but not for two: it may well end as
    they did, and has to be ready first.
    """
    if not living:
        return False
    recent = [view for view in views if _has_ended(view) and ended_lately(view)]
    if any(map(_is_ready, living)) or not recent:
        return True
    return len(recent) == 1 and any(map(_runs, living))


def _runs(view: PodView) -> bool:
    containers = view.status.get("containerStatuses") or ()
    return any("running" in (c.get("state") or {}) for c in containers)


def _has_ended(view: PodView) -> bool:
    return view.status.get("phase") in {"Failed", "Succeeded"}


def _is_ready(view: PodView) -> bool:
    """Whether a pod is ready, and has been for as long as it has to."""
    ready = view.condition("Ready")
    leaving = view.pod["metadata"].get("deletionTimestamp")
    if ready.get("status") != "True" or leaving:
        return False
    return not settles_in(view, ready.get("lastTransitionTime"))


def _of_pod(view: PodView) -> Iterator[Diagnosis]:
    """Yield what a pod shows; one that is ready shows nothing."""
    if view.pod["metadata"].get("deletionTimestamp"):
        yield pending(f"pod {view.name} is shutting down")
    elif is_evicted(view):
        yield eviction(view)
    elif is_turned_away(view):
        yield turned_away(view)
    elif is_unschedulable(view):
        yield unschedulable(view)
    elif not _is_ready(view):
        yield from _of_containers(view)


def _of_containers(view: PodView) -> Iterator[Diagnosis]:
    troubles = [
        found
        for container in view.container_statuses()
        if (found := _of_container(view, container))
    ]
    if not troubles and _is_set_up(view) and (found := mount_failure(view)):
        troubles = [found]
    yield from troubles or [pending(progress(view))]


def _is_set_up(view: PodView) -> bool:
    """Whether the pod has a node and waits there for its volumes and network."""
    return (
        view.holds("PodScheduled")
        and not view.holds("PodReadyToStartContainers")
        and not view.status.get("podIP")
    )


def _of_container(view: PodView, container: Mapping[str, Any]) -> Diagnosis | None:
    if not container.get("ready"):
        return _trouble(view, container)
    running = (container.get("state") or {}).get("running") or {}
    left = settles_in(view, running.get("startedAt"))
    found = _trouble(view, container) if left else None
    return found and replace(found, look_again=left)


def _trouble(view: PodView, container: Mapping[str, Any]) -> Diagnosis | None:
    state = container.get("state") or {}
    last = (container.get("lastState") or {}).get("terminated") or {}
    waits_for = (state.get("waiting") or {}).get("reason", "")
    ended = state.get("terminated") or last
    if waits_for in image_pulls.REASONS:
        return pull_failure(view, container)
    passing = starts.may_pass(container)
    if waits_for in starts.REASONS and not passing:
        return start_failure(view, container)
    # Also while it runs anew: with the reason of the moment, the condition would
    # turn with each round of the loop, and tell nothing most of the time.
    if ended.get("reason") == "OOMKilled":
        return memory_failure(view, container)
    if ended.get("reason") in starts.ENDINGS:
        return start_failure(view, container)
    if waits_for == "CrashLoopBackOff" or ended.get("exitCode", 0) != 0:
        return crash(view, container)
    return hold_up(view, container) if passing else None
