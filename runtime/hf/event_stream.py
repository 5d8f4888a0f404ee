"""Replies as server-sent events."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pykaito.runtime.hf.errors import ApiError

log = logging.getLogger(__name__)

DONE = "data: [DONE]\n\n"


class EventStream(StreamingResponse):
    """A streamed reply; whatever happens to it, what it runs on is closed.

    An error after the reply has begun becomes an event, as OpenAI's clients
    expect: the status has been sent by then.

    Args:
        events: The JSON objects to send.
        close: Called once at the end, also if the client never read a thing.
        seconds: Until when all must have been sent: a client that reads no
            more, and does not hang up either, would keep its place for ever.
    """

    def __init__(
        self,
        events: AsyncIterator[Mapping[str, Any]],
        close: Callable[[], None],
        *,
        seconds: float,
    ) -> None:
        super().__init__(
            _encode(events),
            media_type="text/event-stream",
            # A proxy that buffers would hold the tokens back.
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._close = close
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply; ends early when the client hangs up."""
        try:
            async with asyncio.timeout(self._seconds):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            log.warning("a client stopped reading its stream")
        finally:
            self._close()


async def _encode(events: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[str]:
    try:
        async for event in events:
            yield _event(event)
    except ApiError as error:
        yield _event(error.body())
    yield DONE


def _event(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
