"""A few places, given by turns to those who ask, so that none takes all of them."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final


@final
class Turns:
    """Lets so many in at once; of each asker one, then of each another.

    Args:
        places: how many may be in.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        #: Who waits, by asker; the asker whose turn it is comes first.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def waiting(self, asker: str) -> int:
        """Return how many of an asker's wait."""
        return len(self._waiting.get(asker, ()))

    @asynccontextmanager
    async def place(self, asker: str) -> AsyncIterator[None]:
        """Hold a place, once it is the asker's turn."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(asker)
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, asker: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asker, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        while self._waiting:
            asker, queue = self._waiting.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._waiting[asker] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
