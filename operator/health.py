"""Probes: whether this process lives, and whether it is ready.

Live means that a restart would not help: the event loop turns and whatever
else was registered moves. It never asks whether the API server answers, since
restarting every replica would not bring that back. Ready means that it can do
its work now.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import final

from aiohttp import web

from pykaito.operator import metrics
from pykaito.operator.clock import Clock
from pykaito.operator.listener import HttpListener

Check = Callable[[], str | None]
"""Returns None when all is well, else what is wrong, for people."""

_HEARTBEAT = 1.0
# Far above what a large list costs, far below what a probe's three failures allow.
_LAG_LIMIT = 5.0


def watch_activity(age: Callable[[], float], *, limit: float = 600.0) -> Check:
    """Return a liveness check that fails when the watches stand still.

    Args:
        age: seconds since a watch last did anything: a bookmark, an event, or
            a failed attempt to reconnect. So an API server that is down does
            not fail it.
        limit: the age that is too much, in seconds; several times the longest
            silence and the longest pause that a working watch can have.
    """

    def check() -> str | None:
        seconds = age()
        if seconds <= limit:
            return None
        return f"no watch did anything for {seconds:.0f} s, the limit is {limit:.0f} s"

    return check


@final
class HealthServer:
    """Serves /healthz and /readyz; each answer lists every check.

    Args:
        port: the port to bind on all interfaces; 0 for a free one.
        clock: time.
    """

    def __init__(self, port: int, clock: Clock) -> None:
        self._lag = LoopLag(clock)
        self._live: dict[str, Check] = {"event-loop": self._lag.check}
        self._ready: dict[str, Check] = {}
        self._listener = HttpListener(
            port, {"/healthz": self._healthz, "/readyz": self._readyz}
        )
        self._heartbeat: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The bound port; meaningful once started."""
        return self._listener.port

    def add_live(self, name: str, check: Check) -> None:
        """Let a check decide about /healthz, too."""
        self._live[name] = check

    def add_ready(self, name: str, check: Check) -> None:
        """Let a check decide about /readyz, too."""
        self._ready[name] = check

    async def start(self) -> None:
        """Bind and serve."""
        await self._listener.start()
        self._heartbeat = asyncio.create_task(self._lag.run(), name="heartbeat")

    async def stop(self) -> None:
        """Close the port."""
        await self._listener.stop()
        task, self._heartbeat = self._heartbeat, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer("healthz", self._live)

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer("readyz", self._ready)


@final
class LoopLag:
    """Measures how late the event loop runs what is due."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beat_due = clock.monotonic()
        self._lag = 0.0

    async def run(self) -> None:
        """Beat once a second, for ever."""
        while True:
            self._beat_due = self._clock.monotonic() + _HEARTBEAT
            await self._clock.sleep(_HEARTBEAT)
            self._lag = max(0.0, self._clock.monotonic() - self._beat_due)
            metrics.EVENT_LOOP_LAG.set(self._lag)

    def check(self) -> str | None:
        """Fail when the last beat was, or the next one already is, too late."""
        lag = max(self._lag, self._clock.monotonic() - self._beat_due)
        if lag <= _LAG_LIMIT:
            return None
        return f"the event loop was {lag:.1f} s late, the limit is {_LAG_LIMIT:.0f} s"


def _answer(endpoint: str, checks: dict[str, Check]) -> web.Response:
    lines = []
    failed = False
    for name, check in sorted(checks.items()):
        try:
            problem = check()
        except Exception as error:  # noqa: BLE001 -- a broken check is a failed one
            problem = f"{type(error).__name__}: {error}"
        failed = failed or problem is not None
        lines.append(f"[+]{name} ok" if problem is None else f"[-]{name}: {problem}")
    lines.append(f"{endpoint} check {'failed' if failed else 'passed'}")
    return web.Response(text="\n".join(lines) + "\n", status=500 if failed else 200)
