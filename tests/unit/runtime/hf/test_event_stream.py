import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pykaito.runtime.hf.event_stream import EventStream


async def endless() -> AsyncIterator[dict[str, Any]]:
    while True:
        yield {"text": "a"}


async def test_a_client_that_reads_no_more_loses_its_place_in_the_end() -> None:
    """Its connection may stay open for ever without a word."""
    closed = asyncio.Event()
    never = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await never.wait()
        return {}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await never.wait()

    stream = EventStream(endless(), closed.set, seconds=0.05)
    async with asyncio.timeout(10):
        await stream({"type": "http"}, receive, send)  # type: ignore[arg-type]
    assert closed.is_set()
