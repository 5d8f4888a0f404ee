"""What ``status`` shows of a Workspace, computed from a snapshot: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pykaito.commands.chain import Link, first_failing
from pykaito.commands.readings import (
    Outcome,
    condition,
    is_leaving,
    model_of,
    outcome,
    status,
)
from pykaito.commands.snapshot import Snapshot, last_seen_of_event
from pykaito.commands.timeline import Step, stages, timeline
from pykaito.commands.times import age, parse_time
from pykaito.commands.tree import Row, rows
from pykaito.operator.objects import name, namespace

#: Warnings that are shown; older ones are in `kubectl events`.
WARNINGS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A condition or a warning: what, since when, and why."""

    subject: str
    status: str
    reason: str
    age: str
    message: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the screen, as text that only has to be laid out."""

    name: str
    namespace: str
    outcome: Outcome
    model: str
    state: str
    reason: str
    nodes: str
    url: str
    age: str
    rows: Sequence[Row]
    conditions: Sequence[Line]
    timeline: Sequence[Step]
    #: Seconds, by stage.
    stages: Mapping[str, float]
    warnings: Sequence[Line]
    unread: Mapping[str, str]
    failing: Link | None
    next: str


def view(seen: Snapshot, now: datetime) -> View:
    """Return what is shown of a snapshot."""
    workspace = seen.workspace
    found, link = status(workspace), first_failing(seen)
    ready = condition(workspace, "Ready")
    wanted = found.get("targetNodeCount") or workspace["resource"].get("count", 1)
    return View(
        name=name(workspace),
        namespace=namespace(workspace),
        outcome=outcome(workspace),
        model=model_of(workspace),
        state="Deleting" if is_leaving(workspace) else found.get("state") or "Unknown",
        reason=link.reason if link else ready.get("reason", ""),
        nodes=f"{len(found.get('workerNodes') or ())} of {wanted} ready",
        url=found.get("url", ""),
        age=age(parse_time(workspace["metadata"].get("creationTimestamp")), now),
        rows=rows(seen, now),
        conditions=_conditions(found, now),
        timeline=timeline(seen, now),
        stages=stages(seen),
        warnings=_warnings(seen, now),
        unread=dict(sorted(seen.unread.items())),
        failing=link,
        next=link.command
        if link
        else f"kubectl port-forward service/{name(workspace)} "
        f"-n {namespace(workspace)} 8080:80",
    )


def as_data(shown: View) -> dict[str, Any]:
    """Return a view for ``-o json`` and ``-o yaml``.

    Times are RFC 3339, durations are seconds.
    """
    data = asdict(shown)
    data["outcome"] = shown.outcome.name.lower()
    data["conditions"] = [_renamed(line, subject="type") for line in data["conditions"]]
    data["warnings"] = [
        _renamed(line, subject="object", status="times") for line in data["warnings"]
    ]
    data["tree"] = [{k: v for k, v in row.items() if k != "ok"} for row in data["rows"]]
    del data["rows"]
    for step in data["timeline"]:
        step["at"] = step["at"].isoformat() if step["at"] else None
        step["progress"] = str(step["progress"])
        step["stage"] = str(step["stage"]) if step["stage"] else None
    if shown.failing:
        data["failing"]["reason"] = str(shown.failing.reason)
    data["reason"] = str(shown.reason)
    return data


def _renamed(line: Mapping[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in line.items()}


def _conditions(found: Mapping[str, Any], now: datetime) -> list[Line]:
    return [
        Line(
            item.get("type", ""),
            item.get("status", ""),
            item.get("reason", ""),
            age(parse_time(item.get("lastTransitionTime")), now),
            item.get("message", ""),
        )
        for item in found.get("conditions") or ()
    ]


def _warnings(seen: Snapshot, now: datetime) -> list[Line]:
    return [
        Line(
            f"{event['regarding'].get('kind', '')}/{event['regarding'].get('name')}",
            f"x{(event.get('series') or {}).get('count') or _old_count(event)}",
            event.get("reason", ""),
            age(parse_time(last_seen_of_event(event)), now),
            event.get("note", ""),
        )
        for event in seen.warnings[-WARNINGS:]
    ]


def _old_count(event: Mapping[str, Any]) -> int:
    """Return the count that the kubelet, which writes the older kind, keeps."""
    return int(event.get("deprecatedCount") or 1)
