"""Whether an engine works: by the tokens that come, not by an open port.

An engine whose worker hangs answers nothing and keeps its port and its health.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

#: Seconds that a token proves an engine's health for.
FRESH = 10.0
#: Seconds that one look may take; the kubelet waits a little longer.
PATIENCE = 8.0


class ActivityProbe:
    """Looks whether tokens come, and asks for one where none did for a while.

    One token at most is asked for at a time: an engine that hangs would be given one
    more to do with every look. A busy engine may take long to come to it, and is
    healthy as long as others get theirs.

    Args:
        generate: asks the engine for a token.
        tokens: counts those that came so far, whoever asked for them.
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        generate: Callable[[], Awaitable[None]],
        tokens: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._generate = generate
        self._tokens = tokens
        self._clock = clock
        self._asking: asyncio.Task[None] | None = None
        self._seen = 0.0
        self._last: float | None = None

    async def look(self, patience: float = PATIENCE) -> str:
        """Return why the engine is unhealthy; empty where it is not."""
        if self._is_fresh():
            return ""
        if (count := self._tokens()) > self._seen:
            self._note(count)
            return ""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        asking = self._asking
        done, _ = await asyncio.wait({asking}, timeout=patience)
        if not done:
            return f"no token came for {patience:g} seconds"
        if self._asking is asking:
            self._asking = None
        if (error := asking.exception()) is not None:
            return f"{type(error).__name__}: {error}"
        self._note(self._tokens())
        return ""

    async def _ask(self) -> None:
        await self._generate()

    def _is_fresh(self) -> bool:
        return self._last is not None and self._clock() - self._last < FRESH

    def _note(self, count: float) -> None:
        self._seen = count
        self._last = self._clock()
