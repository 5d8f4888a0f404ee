"""``pykaito status``: one screen on a Workspace, once or until it is ready."""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from rich.live import Live

from pykaito.commands.cluster import Target, ask
from pykaito.commands.failure import FAILED
from pykaito.commands.formats import Structured, dump
from pykaito.commands.readings import Outcome
from pykaito.commands.screen import console, screen, show
from pykaito.commands.snapshot import Reader, read
from pykaito.commands.view import View, as_data, view
from pykaito.operator.client import Client
from pykaito.operator.errors import ServerError, TooManyRequestsError

INTERVAL_SECONDS = 2.0
"""Between two reads of a watch, which needs no right to watch."""


def once(target: Target, form: Structured | None) -> None:
    """Print the screen; exit with 0 if the Workspace is ready, else with 1."""

    async def question(client: Client, namespace: str) -> View:
        return await look(client, namespace, target.name)

    shown = ask(target, question)
    _print(shown, form)
    sys.exit(0 if shown.outcome is Outcome.READY else FAILED)


def watched(target: Target, form: Structured | None, timeout: float) -> None:
    """Follow the Workspace until it is ready, fails, or the time is up.

    The exit code says which: 0, 1 or 2.
    """
    to = console()
    draws = to.is_terminal and form is None
    # What a Live draws is gone when it ends; the last view is printed for good.
    live = Live(console=to, transient=True, auto_refresh=False)
    follow = redraw(live) if draws else lines()

    async def question(client: Client, namespace: str) -> View:
        return await until(client, namespace, target.name, timeout, follow)

    with live if draws else contextlib.nullcontext():
        shown = ask(target, question)
    _print(shown, form)
    sys.exit(shown.outcome)


async def until(
    client: Reader,
    namespace: str,
    name: str,
    timeout: float,  # noqa: ASYNC109 - what is known when the time is up is returned
    follow: Callable[[View], None],
) -> View:
    """Read again and again; return the last view, final or when the time is up.

    ``follow`` gets each view. A server that answered once and then does not for
    a while is asked again, and the view says that it is an old one.

    Raises:
        ApiError: the Workspace is gone, or may not be read, or the first read
            got no answer.
        TimeoutError: the first read got no answer in time.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    shown: View | None = None
    while True:
        try:
            shown = await look(client, namespace, name)
        except (ServerError, TooManyRequestsError, TimeoutError) as error:
            if shown is None:
                raise
            why = str(error) or "no answer in time"
            follow(replace(shown, unread={**shown.unread, "workspaces": why}))
        else:
            follow(shown)
            if shown.outcome is not Outcome.PROGRESSING:
                return shown
        left = end - loop.time()
        if left <= 0:
            return shown
        await asyncio.sleep(min(INTERVAL_SECONDS, left))


async def look(client: Reader, namespace: str, name: str) -> View:
    """Read the Workspace and compute what is shown of it."""
    return view(await read(client, namespace, name), datetime.now(UTC))


def redraw(live: Live) -> Callable[[View], None]:
    """Return a follower that draws each view over the one before."""

    def follow(shown: View) -> None:
        live.update(screen(shown), refresh=True)

    return follow


def lines() -> Callable[[View], None]:
    """Return a follower that tells each turn in a line on standard error."""
    told = ""

    def follow(shown: View) -> None:
        nonlocal told
        link = shown.failing
        line = f"{shown.state}: {link.message if link else shown.reason}"
        if line != told:
            stamp = datetime.now(UTC).strftime("%H:%M:%SZ")
            print(f"{stamp} {line}", file=sys.stderr)  # noqa: T201 - a command's output
        told = line

    return follow


def _print(shown: View, form: Structured | None) -> None:
    if form:
        sys.stdout.write(dump(as_data(shown), form))
    else:
        show(shown, console())
