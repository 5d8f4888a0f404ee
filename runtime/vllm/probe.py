"""Whether an engine works: by what it does, not by an open port.

An engine whose worker hangs answers nothing and keeps its port and its health.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

#: Seconds that a token or a step proves an engine's health for.
FRESH = 10.0
#: Seconds that one look may take; the kubelet waits a little longer.
PATIENCE = 8.0


class ActivityProbe:
    """Looks whether the engine does anything, and asks for a token where it does not.

    One token at most is asked for at a time: an engine that hangs would be given one
    more to do with every look. A busy engine may take long to come to it, and is
    healthy as long as others get theirs, or as a long prompt is being read.

    Args:
        generate: asks the engine for a token.
        work: what changes with the engine's steps, whoever asked for them.
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        generate: Callable[[], Awaitable[None]],
        work: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._generate = generate
        self._work = work
        self._clock = clock
        self._asking: asyncio.Task[None] | None = None
        self._seen = work()
        self._last: float | None = None

    async def look(self, patience: float = PATIENCE) -> str:
        """Return why the engine is unhealthy; empty where it is not."""
        if self._is_fresh() or self._has_worked():
            return ""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        asking = self._asking
        done, _ = await asyncio.wait({asking}, timeout=patience)
        if not done:
            if self._has_worked():
                return ""
            return f"no token came for {patience:g} seconds"
        if self._asking is asking:
            self._asking = None
        if (error := asking.exception()) is not None:
            return f"{type(error).__name__}: {error}"
        self._note(self._work())
        return ""

    async def _ask(self) -> None:
        await self._generate()

    def _is_fresh(self) -> bool:
        return self._last is not None and self._clock() - self._last < FRESH

    def _has_worked(self) -> bool:
        if (work := self._work()) == self._seen:
            return False
        self._note(work)
        return True

    def _note(self, work: object) -> None:
        self._seen = work
        self._last = self._clock()
