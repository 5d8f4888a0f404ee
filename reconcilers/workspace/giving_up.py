"""When a Workspace that fails for good no longer pays for nodes: pure.

Nodes that were made for it cost money as long as they are there. A Workspace that only
a person can mend, because of its model or of the last of its nodes, is given an hour;
then its nodes go back, and come again when its spec changes. Whoever wants to look at
them for longer says so by an annotation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pykaito.api import labels
from pykaito.api.conditions import WithheldReason, WorkspaceCondition
from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.diagnosis.patience import moment


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether nodes go back: why, and if not, when to look again."""

    #: What is told; empty while the nodes stay.
    given_up: str = ""
    look_again: float | None = None


KEEP = Judgement()


def judge(
    live: Object,
    made: Iterable[Object],
    deployed: Object | None,
    patience: timedelta,
    now: datetime,
) -> Judgement:
    """Say whether the nodes that were made for a Workspace go back.

    Args:
        live: the Workspace.
        made: its Machines whose nodes were made.
        deployed: its Deployment, whose pods may serve while newer ones cannot.
        patience: how long it may have failed; zero to keep the nodes.
        now: the time.
    """
    annotations = live["metadata"].get("annotations") or {}
    if not patience or annotations.get(labels.KEEP_NODES) == "true":
        return KEEP
    if ((deployed or {}).get("status") or {}).get("availableReplicas"):
        return KEEP
    current = _current(live)
    resource = current.get(WorkspaceCondition.RESOURCE_READY, {})
    if resource.get("reason") == WithheldReason.NODES_RELEASED:
        # Until the spec is another.
        return Judgement(given_up=_without_page(resource["message"]))
    stalled = current.get(WorkspaceCondition.STALLED)
    if stalled is None or stalled["status"] != "True":
        return KEEP
    since = _used_since(made, moment(stalled.get("lastTransitionTime")) or now)
    if since is None:
        return KEEP
    left = since + patience - now
    if left > timedelta():
        return Judgement(look_again=left.total_seconds() + 1.0)
    minutes = round(patience.total_seconds() / 60)
    return Judgement(
        given_up=f"the nodes that were made were given back after {minutes} minutes of "
        f"{stalled['reason']}; change the Workspace to have them made again, or set "
        f'{labels.KEEP_NODES}: "true" to keep them while it fails. It failed with: '
        f"{_without_page(stalled['message'])}"
    )


def _used_since(made: Iterable[Object], failing: datetime) -> datetime | None:
    """Return since when nodes have been there in vain; None where that is not so yet.

    Those that were made again, for a spec that may be mended, have their time, too. A
    Machine without an instance costs nothing.
    """
    statuses = [machine.get("status") or {} for machine in made]
    times = [moment(s.get("readyTime")) for s in statuses if "launchTime" in s]
    if not times:
        return None
    return None if None in times else max(failing, *filter(None, times))


def _current(live: Object) -> Mapping[str, Mapping[str, Any]]:
    """Return the conditions that are about the spec as it is now, by type."""
    generation = live["metadata"]["generation"]
    return {
        condition["type"]: condition
        for condition in (live.get("status") or {}).get("conditions") or ()
        if condition.get("observedGeneration") == generation
    }


def _without_page(message: str) -> str:
    """Return a condition's message without the link at its end."""
    return message.rpartition(" (https://")[0] or message
