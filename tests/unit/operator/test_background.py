"""Services that are coroutines: kept running, and ended with the manager."""

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from pykaito.operator.background import Background
from tests.unit.operator.virtual_time import VirtualClock

pytestmark = pytest.mark.virtual_time


async def test_one_that_fails_is_begun_again_after_growing_pauses() -> None:
    began: list[float] = []
    loop = asyncio.get_running_loop()

    async def fail() -> None:
        began.append(loop.time())
        raise RuntimeError("a bug")

    service = Background("buggy", fail, VirtualClock())
    await service.start()
    await asyncio.sleep(8)
    await service.stop()
    assert [round(at - began[0]) for at in began] == [0, 1, 3, 7]


async def test_one_that_returns_is_done() -> None:
    runs = []

    async def once() -> None:
        runs.append(1)

    service = Background("short", once, VirtualClock())
    await service.start()
    await asyncio.sleep(100)
    await service.stop()
    assert runs == [1]


async def test_it_is_cancelled_and_ends_before_the_manager_goes_on() -> None:
    ended = False

    async def run() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            ended = True

    service = Background("long", run, VirtualClock())
    await service.start()
    await asyncio.sleep(1)
    await service.stop()
    assert ended


async def test_one_that_fails_while_it_is_cancelled_is_not_begun_again() -> None:
    runs = []

    async def run() -> None:
        runs.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("the connection was gone already")

    service = Background("closing", run, VirtualClock())
    await service.start()
    await asyncio.sleep(1)
    await asyncio.wait_for(service.stop(), 60)
    await asyncio.sleep(100)
    assert runs == [1]


async def test_one_that_will_not_end_is_left_after_a_while() -> None:
    done = asyncio.Event()

    async def run() -> None:
        while not done.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await done.wait()

    service = Background("stubborn", run, VirtualClock())
    await service.start()
    await asyncio.sleep(1)
    with capture_logs() as logs:
        await asyncio.wait_for(service.stop(), 10)
    assert [(line["event"], line["task"]) for line in logs] == [
        ("a task does not end", "stubborn")
    ]
    done.set()


async def test_one_that_was_never_started_stops() -> None:
    async def run() -> None:
        await asyncio.sleep(1)

    await Background("idle", run, VirtualClock()).stop()
