"""Conditions: what a reconciler wants to say, merged with what is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

#: Where each reason has a page of its own.
DOCS = "https://github.com/pykaito/pykaito/blob/main/docs/troubleshooting"
#: metav1.Condition allows 32768; what people read in a terminal is shorter.
MAX_MESSAGE = 1024

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as it should read. Messages say what a person can act on."""

    type: str
    status: Status
    reason: str
    message: str = ""


def with_help(message: str, reason: str) -> str:
    """Return the message with the address of the reason's page."""
    return f"{message} ({DOCS}/{reason}.md)"


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
                "message": condition.message[:MAX_MESSAGE],
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
    """Return the wanted conditions whose status or reason is not written yet."""
    before = {c["type"]: (c["status"], c["reason"]) for c in written}
    return [c for c in wanted if before.get(c["type"]) != (c["status"], c["reason"])]
