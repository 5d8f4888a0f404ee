"""Laying a view out with rich: colour and columns, nothing else."""

import re
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pykaito.commands.readings import Outcome
from pykaito.commands.timeline import Progress, Step
from pykaito.commands.times import duration
from pykaito.commands.view import Line, View

#: Columns where there is no terminal: wide enough that pipes get whole lines.
PIPE_WIDTH = 1_000

_OUTCOME = {
    Outcome.READY: "bold green",
    Outcome.FAILED: "bold red",
    Outcome.PROGRESSING: "bold yellow",
}
_OK = {True: "green", False: "red", None: "yellow"}
#: The address of a reason's page, as the operator appends it to messages.
_HELP = re.compile(r" \((https?://\S+/docs/troubleshooting/\w+\.md)\)")
_MARK = {
    Progress.DONE: ("done", "green"),
    Progress.NOW: ("now", "bold yellow"),
    Progress.LATER: ("", "dim"),
    Progress.UNKNOWN: ("?", "dim"),
}


def console() -> Console:
    """Return standard output; colours obey NO_COLOR and are left out of pipes."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def show(shown: View, to: Console) -> None:
    """Print a view; lines in a pipe end where their text does."""
    if to.is_terminal:
        to.print(screen(shown))
        return
    with to.capture() as capture:
        to.print(screen(shown))
    for line in capture.get().splitlines():
        to.print(line.rstrip(), soft_wrap=True)


def screen(shown: View) -> Group:
    """Return the whole screen."""
    return Group(*_parts(shown))


def _parts(shown: View) -> Iterator[RenderableType]:
    yield _summary(shown)
    yield Text()
    yield _tree(shown)
    yield from _section("CONDITIONS", _lines("TYPE", "STATUS", shown.conditions))
    yield from _section("TIMELINE", _timeline(shown.timeline))
    if shown.warnings:
        yield from _section("WARNINGS", _lines("OBJECT", "TIMES", shown.warnings))
    if shown.unread:
        yield Text()
        for resource, why in shown.unread.items():
            yield Text(f"Not shown: {resource} ({why})", "yellow")
    yield Text()
    if shown.failing and (page := _HELP.search(shown.failing.message)):
        yield Text.assemble(("Help: ", "bold"), page[1])
    yield Text.assemble(("Next: ", "bold"), shown.next)


def _summary(shown: View) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    state = f"{shown.state} ({shown.reason})" if shown.reason else shown.state
    table.add_row("Workspace", Text(f"{shown.namespace}/{shown.name}"))
    table.add_row("Model", Text(shown.model))
    table.add_row("State", Text(state, _OUTCOME[shown.outcome]))
    if shown.failing:
        link = shown.failing
        held = f"{link.kind} {link.name}: {_brief(link.message)}"
        table.add_row("Waits for" if link.progressing else "Held up by", Text(held))
    table.add_row("Nodes", Text(shown.nodes))
    table.add_row("URL", Text(shown.url))
    table.add_row("Age", Text(shown.age))
    return table


def _tree(shown: View) -> Table:
    table = _table("NAME", "KIND", "STATUS", "AGE", "INFO")
    for row in shown.rows:
        table.add_row(
            Text.assemble((row.guide, "dim"), row.name),
            Text(row.kind),
            Text(row.status, _OK[row.ok]),
            Text(row.age),
            Text(row.info),
        )
    return table


def _lines(subject: str, status: str, lines: Sequence[Line]) -> Table:
    table = _table(subject, status, "REASON", "AGE", "MESSAGE")
    told: dict[str, str] = {}
    for line in lines:
        # What failed is in the message of each condition that sums it up.
        first = told.setdefault(line.message, line.subject)
        message = _brief(line.message)
        if line.message and first != line.subject:
            message = f"as {first}"
        cells = (line.subject, line.status, line.reason, line.age, message)
        table.add_row(*map(Text, cells))
    return table


def _brief(message: str) -> str:
    """Return a message without the address of its page, which is shown once."""
    return _HELP.sub("", message)


def _timeline(steps: Sequence[Step]) -> Table:
    table = _table("STEP", "", "TOOK", "AT", "STAGE")
    for step in steps:
        mark, style = _MARK[step.progress]
        took = "" if step.seconds is None else duration(step.seconds)
        took = "again" if step.again else took
        if took and step.progress is Progress.NOW:
            took += " so far"
        at = f"{step.at.astimezone():%H:%M:%S}" if step.at else ""
        table.add_row(
            Text(step.name, style),
            Text(mark, style),
            Text(took),
            Text(at),
            Text(": ".join(filter(None, (step.stage, step.doing)))),
        )
    return table


def _table(*header: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in header:
        last = title == header[-1]
        table.add_column(title, no_wrap=not last, overflow="fold")
    return table


def _section(title: str, body: RenderableType) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, "bold underline")
    yield body
