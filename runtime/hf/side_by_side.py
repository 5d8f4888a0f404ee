"""Several streams as one, each item as soon as it comes."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar, cast

T = TypeVar("T")


async def side_by_side(
    streams: Sequence[AsyncIterable[T]],
) -> AsyncIterator[tuple[int, T]]:
    """Give the items of all streams, with the place of the stream that each is of.

    Raises:
        Exception: whatever one of them raises; the others are left where they are.
    """
    if len(streams) == 1:
        # Without a task for each item.
        async for item in streams[0]:
            yield 0, item
        return
    iterators = [aiter(stream) for stream in streams]
    awaited: dict[asyncio.Task[T], int] = {}

    def await_next(place: int) -> None:
        coming = cast("Coroutine[Any, Any, T]", anext(iterators[place]))
        awaited[asyncio.ensure_future(coming)] = place

    for place in range(len(iterators)):
        await_next(place)
    try:
        while awaited:
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in awaited if task.done()]:
                place = awaited[task]
                try:
                    item = task.result()
                except StopAsyncIteration:
                    continue
                finally:
                    del awaited[task]
                await_next(place)
                yield place, item
    finally:
        for task in awaited:
            task.cancel()  # also of one that has failed: asyncio does not log that
