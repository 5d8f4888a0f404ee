"""From the engine's thread to the event loops of those who wait for tokens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from collections.abc import Sequence as Items
from typing import TYPE_CHECKING

from pykaito.runtime.hf.engine import Chunk, GenerationRequest
from pykaito.runtime.hf.errors import ApiError

if TYPE_CHECKING:
    from pykaito.runtime.hf.scheduler import Sequence

#: A piece of an answer; an error, or None at the end, comes last.
Event = Chunk | ApiError | None


class RunningGeneration:
    """The event loop's end of a request, fed by the engine's thread."""

    def __init__(
        self, request: GenerationRequest, leave: Callable[["RunningGeneration"], None]
    ) -> None:
        self.request = request
        self.started_at: float | None = None
        self.cancelled = False
        #: Those of the batch that have not ended.
        self.sequences: list[Sequence] = []
        self._leave = leave
        self.loop = asyncio.get_running_loop()
        #: Chunks, then None at the end or an error instead of it. It holds at
        #: most one item per token of the answer.
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Iterate over the chunks, once; see `Generation.chunks`."""
        while (event := await self._events.get()) is not None:
            if isinstance(event, ApiError):
                raise event
            yield event

    def cancel(self) -> None:
        """Stop at the next token, or leave the queue."""
        self.cancelled = True
        self._leave(self)

    def receive(self, event: Event) -> None:
        """Take what comes next; called on the loop's thread."""
        self._events.put_nowait(event)


class Outbox:
    """Events on their way to event loops, which are woken once for many."""

    def __init__(self) -> None:
        self._events: list[tuple[RunningGeneration, Event]] = []

    def put(self, generation: RunningGeneration, event: Event) -> None:
        """Add an event."""
        self._events.append((generation, event))

    def send(self) -> None:
        """Send all of them, in order."""
        events, self._events = self._events, []
        for loop in {generation.loop for generation, _ in events}:
            mine = [one for one in events if one[0].loop is loop]
            # The loop may be closed when the process is on its way out.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_receive, mine)


def _receive(events: Items[tuple[RunningGeneration, Event]]) -> None:
    for generation, event in events:
        generation.receive(event)
