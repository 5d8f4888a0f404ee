"""Conditions: what a reconciler wants to say, merged with what is written."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

#: Where each reason has a page of its own.
DOCS = "https://github.com/pykaito/pykaito/blob/main/docs/troubleshooting"
#: metav1.Condition allows 32768; what people read in a terminal is shorter. An Event
#: takes as much.
MAX_MESSAGE = 1024
#: What differs from one pod, try or percent to the next, though nothing else does.
_PASSING = re.compile(r"-[a-z0-9]{6,10}-[a-z0-9]{5}\b|(?<=%) \([^()]*\)|\d+")

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as it should read. Messages say what a person can act on."""

    type: str
    status: Status
    reason: str
    message: str = ""


def with_help(message: str, reason: str) -> str:
    """Return the message, cut where it is too long, with the reason's page."""
    page = f" ({DOCS}/{reason}.md)"
    room = MAX_MESSAGE - len(page)
    return f"{_cut(message, room)}{page}"


def merge(
    written: Iterable[Mapping[str, Any]],
    wanted: Sequence[Condition],
    *,
    generation: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """Return the wanted conditions in the API's form.

    ``lastTransitionTime`` moves only when a condition's status does, as
    metav1.Condition defines it.
    """
    before = {condition["type"]: condition for condition in written}
    merged = []
    for condition in wanted:
        old = before.get(condition.type)
        kept = old is not None and old["status"] == condition.status
        merged.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": _cut(condition.message, MAX_MESSAGE),
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"]
                if old is not None and kept
                else now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )
    return merged


def changed(
    written: Iterable[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the wanted conditions that tell of something new.

    That is another status or reason, or another cause of the same failure: how often
    it was tried, and by which pod, is nothing new.
    """
    before = {c["type"]: _gist(c) for c in written}
    return [c for c in wanted if before.get(c["type"]) != _gist(c)]


def _gist(condition: Mapping[str, Any]) -> tuple[str, str, str]:
    told = condition["message"] if condition["status"] == "False" else ""
    return condition["status"], condition["reason"], _PASSING.sub("", told)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
