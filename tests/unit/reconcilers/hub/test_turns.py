"""Places are given by turns, and none is lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykaito.reconcilers.hub.answers import AT_ONCE, LONGEST_QUEUE, Answers
from pykaito.reconcilers.hub.turns import Turns
from pykaito.runtime.presets.catalogue import Preset, find_preset
from pykaito.runtime.presets.plan import PlanError, PlanReason
from tests.unit.operator.virtual_time import VirtualClock

pytestmark = pytest.mark.virtual_time


async def test_who_asks_once_waits_for_one_of_those_who_ask_often() -> None:
    turns, order = Turns(1), []

    async def work(asker: str) -> None:
        async with turns.place(asker):
            order.append(asker)
            await asyncio.sleep(1)

    await asyncio.gather(*map(work, ["a", "a", "a", "a", "b", "c", "b"]))
    assert order == ["a", "a", "b", "c", "a", "b", "a"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), max_size=30))
def test_no_place_is_lost_whoever_goes_away(callers: list[tuple[str, int]]) -> None:
    async def run() -> None:
        turns, inside = Turns(2), 0

        async def work(asker: str) -> None:
            nonlocal inside
            async with turns.place(asker):
                inside += 1
                assert inside <= 2
                try:
                    for _ in range(2):
                        await asyncio.sleep(0)
                finally:
                    inside -= 1

        tasks = [asyncio.create_task(work(asker)) for asker, _ in callers]
        for turn in range(7):
            await asyncio.sleep(0)
            for task, (_, leaves) in zip(tasks, callers, strict=True):
                if leaves == turn and leaves:
                    task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with turns.place("x"), turns.place("y"):
            assert turns.waiting("a") == 0

    asyncio.run(asyncio.wait_for(run(), 5))


async def never() -> Preset:
    await asyncio.Event().wait()
    raise AssertionError


async def answer() -> Preset:
    return find_preset("falcon-7b")


async def test_a_namespace_that_asks_for_too_much_is_sent_away_alone() -> None:
    kept = Answers(VirtualClock(), held=0)

    async def ask(number: int, asker: str) -> PlanReason:
        with pytest.raises(PlanError) as caught:
            await kept.get((asker, number), never, asker=asker, patient=False)
        assert not caught.value.terminal
        return caught.value.reason

    for number in range(AT_ONCE + 3 * LONGEST_QUEUE):
        assert await ask(number, "theirs") is PlanReason.MODEL_LOOKUP_PENDING
        await asyncio.sleep(0)
    assert len(kept._running) == AT_ONCE + LONGEST_QUEUE
    await ask(0, "mine")
    assert len(kept._running) == AT_ONCE + LONGEST_QUEUE + 1
    for task in kept._running.values():
        task.cancel()


async def test_who_does_not_wait_finds_the_answer_later() -> None:
    kept = Answers(VirtualClock(), held=0)
    with pytest.raises(PlanError):
        await kept.get("x", answer, patient=False)
    await asyncio.sleep(1)
    assert await kept.get("x", never, patient=False) is find_preset("falcon-7b")
