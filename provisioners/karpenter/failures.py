"""Why Karpenter could not launch a machine, from what it says of it: pure functions.

Karpenter passes on the words of the cloud, and each cloud has its own. Where it gives
up for want of capacity, it deletes the NodeClaim at once and says so in an Event alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pykaito.operator.objects import Object, uid
from pykaito.provisioners.errors import (
    InsufficientCapacityError,
    LaunchError,
    ProvisionError,
    QuotaError,
    TargetNotFoundError,
    ThrottledError,
    UnauthorizedError,
    words,
)

#: Warnings that tell nothing of an end.
_BESIDE_THE_POINT = frozenset({"UnregisteredTaintMissing", "FailedConsistencyCheck"})

#: What is said of a failure, in any case, and what it means; the first that fits
#: counts. Karpenter counts a quota that is used up, and a node class that there is not,
#: as want of capacity, so that comes late.
_MEANINGS: Mapping[type[ProvisionError], str] = {
    TargetNotFoundError: "FailedResolvingNodeClass|node ?class.*not ?found",
    ThrottledError: "throttl|too ?many ?requests|request ?limit ?exceeded|"
    "rate exceeded",
    QuotaError: "quota|limit ?exceeded|max ?spot ?instance ?count",
    UnauthorizedError: "unauthori[sz]ed|not authori[sz]ed|authori[sz]ation ?failed|"
    "access ?denied|forbidden|authentication ?fail|credential",
    InsufficientCapacityError: "capacity|allocation ?failed|unavailable during launch|"
    "sku ?not ?available",
}


@dataclass(frozen=True, slots=True)
class Warned:
    """What a Warning Event says."""

    reason: str
    message: str


def classify(reason: str, message: str) -> type[ProvisionError]:
    """Return what a reason and a message of Karpenter's mean."""
    said = f"{reason} {message}"
    for meaning, pattern in _MEANINGS.items():
        if re.search(pattern, said, re.IGNORECASE):
            return meaning
    return LaunchError


def failure(what: str, reason: str, message: str) -> ProvisionError:
    """Return the failure that a reason and a message tell of.

    Args:
        what: what Karpenter did not do, such as "could not launch g6.xlarge".
        reason: Karpenter's, of a condition or an Event.
        message: the same.
    """
    text = message.partition(" event: ")[2] or message or reason
    meaning = classify(reason, message)
    return meaning(f"Karpenter {what}: {words(text)}")


def last_warning(events: Iterable[Object], claim: Object) -> Warned | None:
    """Return what the latest Warning about a NodeClaim says, if it tells anything."""
    telling = [
        event
        for event in events
        if event.get("type") == "Warning"
        and (event.get("regarding") or {}).get("uid") == uid(claim)
        and event.get("reason") not in _BESIDE_THE_POINT
    ]
    if not telling:
        return None
    last = max(telling, key=_time)
    return Warned(last.get("reason") or "", last.get("note") or "")


def _time(event: Object) -> str:
    """Return when an Event was seen last: RFC 3339, which sorts as text."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("deprecatedLastTimestamp")
        or event.get("eventTime")
        or ""
    )
