"""An engine is healthy while it works."""

import asyncio

import pytest

from pykaito.runtime.vllm.probe import FRESH, ActivityProbe


class Engine:
    """An engine that a test makes work, hang or fail."""

    def __init__(self) -> None:
        self.now = 100.0
        self.tokens = 0.0
        self.steps = 0.0
        self.asked = 0
        self.answer = asyncio.Event()
        self.error: Exception | None = None
        self.probe = ActivityProbe(
            self.generate, lambda: (self.tokens, self.steps), lambda: self.now
        )

    async def generate(self) -> None:
        self.asked += 1
        await self.answer.wait()
        if self.error:
            raise self.error
        self.tokens += 1

    async def look(self) -> str:
        return await self.probe.look(patience=0.05)


@pytest.fixture
def engine() -> Engine:
    return Engine()


async def test_an_engine_that_answers_is_healthy(engine: Engine) -> None:
    engine.answer.set()
    assert await engine.look() == ""
    assert engine.asked == 1


async def test_a_token_counts_for_a_while(engine: Engine) -> None:
    engine.answer.set()
    await engine.look()
    engine.now += FRESH - 1
    engine.answer.clear()
    assert await engine.look() == ""
    engine.now += 2
    assert "no token came" in await engine.look()
    assert engine.asked == 2


async def test_an_engine_that_hangs_is_asked_for_one_token_alone(
    engine: Engine,
) -> None:
    for _ in range(3):
        assert "no token came" in await engine.look()
    assert engine.asked == 1


async def test_looks_at_once_ask_for_one_token(engine: Engine) -> None:
    looks = [asyncio.create_task(engine.look()) for _ in range(3)]
    await asyncio.sleep(0)
    engine.answer.set()
    assert await asyncio.gather(*looks) == ["", "", ""]
    assert engine.asked == 1


async def test_an_engine_that_recovers_is_healthy_again(engine: Engine) -> None:
    assert await engine.look()
    engine.answer.set()
    assert await engine.look() == ""


async def test_tokens_of_others_are_as_good(engine: Engine) -> None:
    for _ in range(3):
        engine.tokens += 5
        engine.now += FRESH
        assert await engine.look() == ""
    assert engine.asked == 0
    engine.now += FRESH
    assert "no token came" in await engine.look()


async def test_an_engine_that_reads_a_long_prompt_is_healthy(engine: Engine) -> None:
    """It comes to the token that it is asked for at the prompt's end."""
    assert await engine.look()
    for _ in range(20):
        engine.steps += 1
        engine.now += FRESH
        assert await engine.look() == ""
    engine.now += FRESH
    assert "no token came" in await engine.look()


async def test_a_step_that_ends_during_a_look_counts(engine: Engine) -> None:
    look = asyncio.create_task(engine.look())
    await asyncio.sleep(0)
    engine.steps += 1
    assert await look == ""


async def test_its_own_token_is_not_taken_for_one_of_others(engine: Engine) -> None:
    engine.answer.set()
    await engine.look()
    engine.answer.clear()
    engine.now += FRESH
    assert "no token came" in await engine.look()


async def test_an_engine_that_fails_is_told_and_asked_anew(engine: Engine) -> None:
    engine.error = RuntimeError("the engine is dead")
    engine.answer.set()
    assert await engine.look() == "RuntimeError: the engine is dead"
    engine.error = None
    assert await engine.look() == ""
    assert engine.asked == 2
