"""Waiting for one thing while others must not fail.

A manager that waits for its caches must notice when they crash, when the lease
is lost and when it is told to stop, whichever comes first.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, final

import structlog

_log = structlog.stdlib.get_logger(__name__)

# What is left of a task that was cancelled gets this long, in seconds.
_CANCEL_TIMEOUT = 5.0


@final
class Guards:
    """A stop event and background tasks, watched during every wait.

    Args:
        stop: ends every wait when it is set.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = asyncio.create_task(stop.wait(), name="stop")
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[None]:
        """Run something in the background that must not end before the waits."""
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        return task

    async def until(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Do some work; cancel it and return false when stopped meanwhile.

        Raises:
            Exception: what the work raised, or a background task; RuntimeError
                when one of those just ended.
        """
        task = asyncio.create_task(work)
        try:
            await asyncio.wait(
                {task, self._stop, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
            )
            for guard in self._tasks:
                if guard.done():
                    guard.result()
                    raise RuntimeError(f"{guard.get_name()} ended by itself")
            if self._stop.done():
                return False
            task.result()
            return True
        finally:
            await cancel(task)

    async def until_stopped(self) -> None:
        """Wait until stopped; raises what `until` raises."""
        await self.until(asyncio.Event().wait())

    async def close(self) -> None:
        """End the watching."""
        await cancel(self._stop)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end; one that will not end is left and named.

    What they raise is not raised here: who waits for a result looks at it.
    """
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    done, stuck = await asyncio.wait(tasks, timeout=_CANCEL_TIMEOUT)
    for task in stuck:
        _log.error("a task does not end", task=task.get_name())
    for task in done:
        if not task.cancelled():
            task.exception()  # seen here, so that asyncio does not report it
