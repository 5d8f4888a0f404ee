"""From when on waiting does not mend what holds a pod up: pure.

Kubernetes tries for ever. Tools that wait for a Workspace do not, and take what is
stalled for failed: too early, and they give up, or roll back, what a Secret that
comes a minute later would have mended; never, and they wait for nothing.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pykaito.reconcilers.inference.diagnosis.pod_view import PodView

#: How long what only a person can bring may be missing: images and Secrets are often
#: on their way when a Workspace that needs them is applied.
PATIENCE = timedelta(minutes=5)

#: After so many restarts the kubelet waits for minutes between them: the first five
#: take 310 seconds of waiting alone.
MAX_RESTARTS = 5

#: A container that ran for longer starts with a clean record: the kubelet restarts it
#: without a wait.
CLEAN_RECORD = timedelta(minutes=10)

#: For how long a pod that has ended tells something of the next one.
RECENT = timedelta(minutes=10)

#: How long a pod's volumes may take. ConfigMaps and Secrets are there at once.
MOUNTING = timedelta(seconds=10)

#: For how long a node may fail at what it succeeds in by itself: the kubelet tries
#: again every few seconds, but gives the container runtime two minutes for a request.
HICCUP = timedelta(minutes=5)

#: How long claims may take, whose disks a cloud takes from one node to another.
ATTACHING = timedelta(minutes=2)


def waited(
    since: datetime | None, now: datetime, patience: timedelta
) -> tuple[bool, float | None]:
    """Return whether what began then has lasted long enough, else when it will have.

    The second is in seconds, None where the beginning is not known.
    """
    if since is None:
        return False, None
    left = (since + patience - now).total_seconds()
    return (True, None) if left <= 0 else (False, left)


def restarts_in_vain(container: Mapping[str, Any]) -> bool:
    """Whether a container that ends again and again has been given its chances."""
    state = container.get("state") or {}
    last = container.get("lastState") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    started = moment(ended.get("startedAt"))
    finished = moment(ended.get("finishedAt"))
    # One that never started has no such time, or the first of all times.
    ran_well = (
        started is not None
        and finished is not None
        and started.year > 1970  # noqa: PLR2004 - the first of all times
        and finished - started > CLEAN_RECORD
    )
    return container.get("restartCount", 0) >= MAX_RESTARTS and not ran_well


def could_start_since(view: PodView) -> datetime | None:
    """Return from when on nothing but the container itself held it up.

    It is the last thing that had to come before: a node, the sandbox, the init
    containers before it.
    """
    return max(_milestones(view), default=None)


def scheduled_at(view: PodView) -> datetime | None:
    """Return when the pod got its node."""
    return _since(view, "PodScheduled")


def ended_lately(view: PodView) -> bool:
    """Whether a pod ended so lately that the next may end as it did."""
    times = (
        moment(condition.get("lastTransitionTime"))
        for condition in view.status.get("conditions") or ()
    )
    last = max((at for at in times if at is not None), default=None)
    return last is None or view.now - last < RECENT


def settles_in(view: PodView, since: str | None) -> float:
    """Return in how many seconds what is ready since then counts, 0 if it does."""
    began = moment(since) or view.now
    return max(0.0, (began + view.settling - view.now).total_seconds())


def moment(text: str | None) -> datetime | None:
    """Return a timestamp as an object holds it, None where there is none."""
    return datetime.fromisoformat(text) if text else None


def _milestones(view: PodView) -> Iterator[datetime]:
    for kind in ("PodScheduled", "PodReadyToStartContainers", "Initialized"):
        if (at := _since(view, kind)) is not None:
            yield at
    for container in view.status.get("initContainerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        at = moment(ended.get("finishedAt"))
        if ended.get("exitCode") == 0 and at is not None:
            yield at


def _since(view: PodView, kind: str) -> datetime | None:
    condition = view.condition(kind)
    if condition.get("status") != "True":
        return None
    return moment(condition.get("lastTransitionTime"))
