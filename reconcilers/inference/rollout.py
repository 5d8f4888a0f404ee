"""How new pods take the place of old ones: pure.

A pod more for a while keeps the model served, but needs a second share of a node's
GPUs. Where no node has one to spare, the old pod has to stop first. Which of the two
is decided as a rollout begins and stands until it is over, unless the pod more turns
out to fit nowhere: pods that no Machine tells of may hold the GPUs. While all nodes are
cordoned nothing stops, since nothing could take its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pykaito.api.quantity import parse_quantity
from pykaito.operator.objects import Object, name
from pykaito.reconcilers.workspace.claims import Resources
from pykaito.reconcilers.workspace.nodes import can_serve

#: A pod more may wait so long for GPUs that another pod is about to give back.
PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a Deployment is rolled out.

    ``surge``: a pod more starts before an old one stops. ``why_not``: what is
    missing for that. ``look_again``: seconds until this may change by itself.
    """

    surge: bool
    why_not: str = ""
    look_again: float | None = None


def strategy(
    deployed: Object | None,
    pods: Iterable[Object],
    lack: str,
    *,
    replicas: int,
    cordoned: bool,
    now: datetime,
) -> Strategy:
    """Return how to roll out, or to go on doing so.

    Args:
        deployed: the Deployment as it is, None before there is one.
        pods: the Workspace's.
        lack: why no node has room for a pod more, empty if one has; see `lacking`.
        replicas: how many are wanted now.
        cordoned: whether none of the nodes takes pods until someone lets it.
        now: the time.
    """
    if cordoned:
        return Strategy(surge=True)
    if deployed is None or not is_rolling(deployed):
        # One replica less leaves its GPUs, maybe, on a node that stays.
        fewer = deployed is not None and replicas < deployed["spec"]["replicas"]
        return Strategy(surge=fewer or not lack, why_not=lack)
    if not _surges(deployed):
        return Strategy(surge=False, why_not=lack)
    waiting = [found for pod in pods if (found := _unscheduled(pod))]
    if not waiting or not _has_earlier_pods(deployed):
        return Strategy(surge=True)
    condition = min(waiting, key=lambda found: str(found.get("lastTransitionTime")))
    left = PATIENCE - (now - _since(condition, now))
    if left > timedelta():
        return Strategy(surge=True, look_again=left.total_seconds())
    why = f"its new pod fits no node beside the old one: {condition.get('message', '')}"
    return Strategy(surge=False, why_not=why)


def interrupts(before: Object | None, after: Object) -> bool:
    """Whether an apply makes the only pod that serves stop before a new one does.

    Args:
        before: the Deployment as it was, None if there was none.
        after: the same as it was applied.
    """
    if before is None or after["spec"]["replicas"] != 1 or _surges(after):
        return False
    if not (before.get("status") or {}).get("availableReplicas"):
        return False
    begins = before["spec"]["template"] != after["spec"]["template"]
    gives_in = is_rolling(before) and _surges(before)
    return begins or gives_in


def lacking(
    nodes: Sequence[Object],
    resources: Mapping[str, str],
    claims: Mapping[str, Sequence[Resources]],
) -> str:
    """Return why no node has room for a pod more, in words; empty if one has.

    Args:
        nodes: that the pods may run on.
        resources: that a pod takes, and the one that is there has taken.
        claims: what others take of each node.
    """
    reasons = [_lack(node, resources, claims.get(name(node), ())) for node in nodes]
    return "" if "" in reasons else "; ".join(reasons) or "no node is known"


def carried(claims: Sequence[str], before: Sequence[str], after: Sequence[str]) -> str:
    """Return why the only pod cannot have its claims on another node yet; else empty.

    A claim of ReadWriteOnce, as most are, is on one node at a time, and a pod that
    waits for it has a node already: nothing would end the wait.

    Args:
        claims: the PersistentVolumeClaims that the pod mounts now.
        before: the nodes that it may run on now.
        after: those that it is to run on.
    """
    if not claims or len(after) != 1 or not before or set(before) & set(after):
        return ""
    named = " and ".join(claims)
    return f"PersistentVolumeClaim {named} may be on one node at a time"


def is_cordoned(node: Object) -> bool:
    """Whether someone lets no pods onto the node; those that are there stay."""
    return bool((node.get("spec") or {}).get("unschedulable"))


def _lack(
    node: Object, resources: Mapping[str, str], claims: Sequence[Resources]
) -> str:
    if not can_serve(node, resources):
        return f"node {name(node)!r} takes no pod now"
    allocatable = node["status"]["allocatable"]
    for resource, wanted in resources.items():
        share = parse_quantity(wanted)
        others = sum(parse_quantity(claim.get(resource, "0")) for claim in claims)
        if others + 2 * share > parse_quantity(allocatable.get(resource, "0")):
            beside = ", beside other Workspaces" if others else ""
            return (
                f"node {name(node)!r} has no room for a second replica: each takes "
                f"{wanted} of its {allocatable.get(resource, '0')} {resource}{beside}"
            )
    return ""


def _surges(deployed: Object) -> bool:
    rolling = deployed["spec"].get("strategy", {}).get("rollingUpdate") or {}
    return rolling.get("maxUnavailable") == 0


def is_rolling(deployed: Object) -> bool:
    """Whether there are pods of an earlier template, or not all of the new yet."""
    status = deployed.get("status") or {}
    wanted = deployed["spec"]["replicas"]
    return not (
        status.get("observedGeneration") == deployed["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == wanted
    )


def _has_earlier_pods(deployed: Object) -> bool:
    """Whether there are pods of an earlier template, which may hold the GPUs."""
    status = deployed.get("status") or {}
    return bool(status.get("updatedReplicas", 0) < status.get("replicas", 0))


def _unscheduled(pod: Object) -> Mapping[str, Any] | None:
    if pod["metadata"].get("deletionTimestamp"):
        return None
    for condition in (pod.get("status") or {}).get("conditions", ()):
        if (condition["type"], condition["status"]) == ("PodScheduled", "False"):
            found: Mapping[str, Any] = condition
            return found
    return None


def _since(condition: Mapping[str, Any], now: datetime) -> datetime:
    text = condition.get("lastTransitionTime")
    return datetime.fromisoformat(text) if text else now
