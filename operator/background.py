"""A service that is a coroutine: begun with the manager, begun again when it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import final

import structlog

from pykaito.operator.backoff import exponential
from pykaito.operator.clock import Clock
from pykaito.operator.guards import cancel

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds until a coroutine that failed is begun again, doubled each time."""

_log = structlog.stdlib.get_logger(__name__)


@final
class Background:
    """Runs a coroutine until it returns or the manager stops.

    Args:
        name: what it is, for logs.
        run: makes the coroutine; called again when one has failed.
        clock: time.
    """

    def __init__(
        self, name: str, run: Callable[[], Awaitable[None]], clock: Clock
    ) -> None:
        self._name = name
        self._run = run
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; never waits."""
        self._task = asyncio.create_task(self._keep_running(), name=self._name)

    async def stop(self) -> None:
        """Cancel it and wait until it has ended; one that will not is left."""
        task, self._task = self._task, None
        if task is not None:
            await cancel(task)

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            began = self._clock.monotonic()
            try:
                await self._run()
            except Exception:  # noqa: BLE001 - a bug in one service must not stop it for good
                if self._task is None:
                    _log.exception("a service failed as it ended", service=self._name)
                    return
                if self._clock.monotonic() - began > LONGEST_PAUSE:
                    failures = 0
                pause = exponential(failures, base=FIRST_PAUSE, ceiling=LONGEST_PAUSE)
                failures += 1
                _log.exception("a service failed", service=self._name, again_in=pause)
                await self._clock.sleep(pause)
            else:
                return
