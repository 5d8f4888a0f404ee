import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from pykaito.runtime.hf.side_by_side import side_by_side


async def of(
    *items: int | Exception, after: asyncio.Event | None = None
) -> AsyncIterator[int]:
    if after is not None:
        await after.wait()
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


async def test_all_items_come_each_streams_in_its_order() -> None:
    streams = [of(1, 2, 3), of(), of(4, 5)]
    found = [one async for one in side_by_side(streams)]
    assert sorted(found) == [(0, 1), (0, 2), (0, 3), (2, 4), (2, 5)]
    assert [item for place, item in found if place == 0] == [1, 2, 3]


async def test_no_stream_waits_for_another() -> None:
    begun = asyncio.Event()
    merged = side_by_side([of(1, after=begun), of(2)])
    assert await anext(merged) == (1, 2)
    begun.set()
    assert [one async for one in merged] == [(0, 1)]


async def test_the_first_failure_ends_all_and_leaves_nothing_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    never = asyncio.Event()
    streams = [of(ValueError("one")), of(ValueError("two")), of(after=never)]
    with pytest.raises(ValueError, match="one"):
        await anext(side_by_side(streams))
    while len(asyncio.all_tasks()) > 1:
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    gc.collect()  # asyncio logs an exception that nobody took when its task goes
    assert caplog.messages == []
