import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import torch

from pykaito.runtime.hf.batch_engine import BatchEngine
from pykaito.runtime.hf.engine import Chunk, GenerationRequest
from pykaito.runtime.hf.errors import (
    EngineError,
    InvalidRequestError,
    NotReadyError,
    QueueFullError,
)
from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.loading import LoadedModel
from pykaito.runtime.hf.start_engine import start_runner

Load = Callable[[str], LoadedModel]
GREEDY = {"do_sample": False}
SAMPLED = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}


def start(loaded: LoadedModel, *, batching: bool = True, **limits: int) -> BatchEngine:
    runner = start_runner(parse_flags([]), loaded) if batching else None
    assert batching == (runner is not None)
    return BatchEngine(
        loaded, runner, **({"max_running": 1, "max_waiting": 4} | limits)
    )


@pytest.fixture(params=[True, False], ids=["batch", "generate"])
async def engine(
    loaded_model: Load, request: pytest.FixtureRequest
) -> AsyncIterator[BatchEngine]:
    """One of each kind: what a client sees is the same."""
    engine = start(loaded_model("phi3"), batching=request.param)
    yield engine
    engine.close()
    engine.join(10)


def request(
    prompt: tuple[int, ...] = (40, 41, 42), **changes: Any
) -> GenerationRequest:
    fields: dict[str, Any] = {"id": "test", "max_new_tokens": 8, "options": GREEDY}
    return GenerationRequest(prompt=prompt, **(fields | changes))


async def run(engine: BatchEngine, wanted: GenerationRequest) -> list[Chunk]:
    return [chunk async for chunk in engine.submit(wanted).chunks()]


def tokens(chunks: list[Chunk], sequence: int = 0) -> list[int]:
    mine = [chunk.token_ids for chunk in chunks if chunk.sequence == sequence]
    return [token for ids in mine for token in ids]


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


@pytest.mark.parametrize("architecture", ["phi3", "falcon", "llama"])
async def test_greedy_tokens_are_those_of_generate(
    architecture: str, loaded_model: Load
) -> None:
    loaded = loaded_model(architecture)
    engine = start(loaded)
    prompt = tuple(loaded.tokenizer.encode("def load_model(settings):"))
    expected = loaded.model.generate(
        torch.tensor([prompt]), max_new_tokens=40, do_sample=False
    )[0, len(prompt) :].tolist()

    chunks = await run(engine, request(prompt, max_new_tokens=40))

    assert tokens(chunks) == expected
    whole = loaded.decode([*prompt, *expected])
    assert text(chunks) == whole[len(loaded.decode(list(prompt))) :]
    engine.close()
    engine.join(10)


async def test_beam_search_gives_the_sequences_of_generate(
    engine: BatchEngine, loaded_model: Load
) -> None:
    options = {"do_sample": False, "num_beams": 3, "early_stopping": True}
    prompt = (50, 60, 70)
    expected = (
        loaded_model("phi3")
        .model.generate(
            torch.tensor([prompt]), max_new_tokens=6, num_return_sequences=2, **options
        )[:, 3:]
        .tolist()
    )

    chunks = await run(
        engine, request(prompt, max_new_tokens=6, sequences=2, options=options)
    )

    assert [list(chunk.token_ids) for chunk in chunks] == expected
    assert [chunk.finish_reason for chunk in chunks] == ["length", "length"]


async def test_a_sequence_ends_with_the_reason_length_when_its_tokens_are_used_up(
    engine: BatchEngine,
) -> None:
    chunks = await run(engine, request(max_new_tokens=5))
    assert len(tokens(chunks)) == 5
    assert [chunk.finish_reason for chunk in chunks] == [None] * 4 + ["length"]


async def test_an_end_token_ends_a_sequence_with_the_reason_stop(
    engine: BatchEngine,
) -> None:
    free = tokens(await run(engine, request()))
    options = GREEDY | {"eos_token_id": free[3]}
    chunks = await run(engine, request(options=options))
    assert tokens(chunks) == free[: free.index(free[3]) + 1]
    assert chunks[-1].finish_reason == "stop"


async def test_a_stop_text_ends_a_sequence_and_is_not_part_of_it(
    engine: BatchEngine,
) -> None:
    free = text(await run(engine, request(max_new_tokens=30)))
    stop = free[20:23]
    chunks = await run(engine, request(max_new_tokens=30, stop=(stop,)))
    assert text(chunks) == free[: free.index(stop)]
    assert chunks[-1].finish_reason == "stop"
    assert len(tokens(chunks)) < 30


async def test_the_same_seed_draws_the_same_tokens(engine: BatchEngine) -> None:
    wanted = request(options=SAMPLED, seed=7, max_new_tokens=12)
    first = tokens(await run(engine, wanted))
    await run(engine, request(options=SAMPLED))
    assert tokens(await run(engine, wanted)) == first


async def test_without_a_seed_tokens_differ_from_one_request_to_the_next(
    engine: BatchEngine,
) -> None:
    await run(engine, request(options=SAMPLED, seed=7))
    wanted = request(options=SAMPLED, max_new_tokens=20)
    assert tokens(await run(engine, wanted)) != tokens(await run(engine, wanted))


async def test_several_sequences_of_one_prompt_come_side_by_side(
    engine: BatchEngine,
) -> None:
    wanted = request(options=SAMPLED, sequences=3, seed=1)
    chunks = await run(engine, wanted)
    answers = [tokens(chunks, index) for index in range(3)]
    assert [len(answer) for answer in answers] == [8, 8, 8]
    assert answers[0] != answers[1] != answers[2]


async def test_a_presence_penalty_keeps_tokens_from_coming_back(
    engine: BatchEngine,
) -> None:
    favourite = {99: 100.0}
    plain = await run(engine, request(logit_bias=favourite))
    assert tokens(plain) == [99] * 8
    punished = await run(engine, request(logit_bias={99: 1.0}, presence_penalty=200.0))
    assert tokens(punished).count(99) <= 1


async def test_log_probabilities_are_the_models_own(
    engine: BatchEngine, loaded_model: Load
) -> None:
    prompt = (30, 31, 32)
    chunks = await run(engine, request(prompt, max_new_tokens=1, top_logprobs=3))
    with torch.inference_mode():
        logits = loaded_model("phi3").model(torch.tensor([prompt])).logits[0, -1]
    expected = torch.log_softmax(logits.float(), -1).topk(3)
    found = chunks[0].logprobs[0]
    values = [logprob for _, logprob in found.top]
    assert values == pytest.approx(expected.values.tolist(), abs=1e-4)
    assert found.logprob == values[0]


async def test_a_cancelled_request_makes_room_for_the_next_at_once(
    engine: BatchEngine,
) -> None:
    long = engine.submit(request(max_new_tokens=4000))
    chunks = long.chunks()
    await anext(chunks)
    long.cancel()
    assert len(tokens(await run(engine, request()))) == 8
    assert engine.running == 0


async def test_a_request_cancelled_while_it_waits_leaves_the_queue(
    engine: BatchEngine,
) -> None:
    first = engine.submit(request(max_new_tokens=4000))
    second = engine.submit(request())
    assert engine.waiting >= 1
    second.cancel()
    await anext(first.chunks())
    assert (engine.running, engine.waiting) == (1, 0)
    first.cancel()


async def test_beam_search_can_be_cancelled(engine: BatchEngine) -> None:
    options = {"do_sample": False, "num_beams": 2}
    engine.submit(request(max_new_tokens=4000, options=options)).cancel()
    assert len(tokens(await run(engine, request()))) == 8


async def test_more_requests_than_may_wait_are_told_when_to_come_back(
    engine: BatchEngine,
) -> None:
    first = engine.submit(request(max_new_tokens=4000))
    await anext(first.chunks())
    waiting = [engine.submit(request()) for _ in range(4)]
    with pytest.raises(QueueFullError) as refused:
        engine.submit(request())
    assert int(refused.value.headers()["Retry-After"]) >= 1
    first.cancel()
    for generation in waiting:
        assert len([chunk async for chunk in generation.chunks()]) == 8


async def test_an_idle_engine_takes_one_request_more_than_may_wait(
    engine: BatchEngine,
) -> None:
    """Also if they come before its thread has taken up the first."""
    with engine._changed:
        taken = [engine.submit(request()) for _ in range(5)]
        with pytest.raises(QueueFullError, match="5 requests are running or waiting"):
            engine.submit(request())
    for generation in taken:
        assert len([chunk async for chunk in generation.chunks()]) == 8


async def test_what_generate_refuses_is_the_clients_fault(
    engine: BatchEngine,
) -> None:
    with pytest.raises(InvalidRequestError, match="temperature"):
        await run(engine, request(options={"do_sample": True, "temperature": -1.0}))
    assert len(tokens(await run(engine, request()))) == 8


EVERY_TOKEN = tuple(range(2048))


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": True, "encoder_no_repeat_ngram_size": 1},
        {"do_sample": True, "no_repeat_ngram_size": 1},
        {"do_sample": True, "no_repeat_ngram_size": 1, "num_beams": 2},
        {"do_sample": False, "no_repeat_ngram_size": 1},
    ],
)
async def test_a_request_that_forbids_every_token_is_refused(
    engine: BatchEngine, options: dict[str, Any]
) -> None:
    """To draw from nothing is an assertion on a GPU, which ends the server."""
    with pytest.raises(InvalidRequestError, match="no token is left to generate"):
        await run(engine, request(EVERY_TOKEN, options=options))
    assert len(tokens(await run(engine, request()))) == 8


@pytest.mark.parametrize("options", [GREEDY, SAMPLED])
async def test_a_model_whose_scores_are_no_numbers_fails_the_request(
    engine: BatchEngine, options: dict[str, Any]
) -> None:
    hook = engine._loaded.model.lm_head.register_forward_hook(
        lambda _layer, _input, scores: scores * float("nan")
    )
    with pytest.raises(EngineError, match="scores are no numbers"):
        await run(engine, request(options=options))
    hook.remove()
    assert len(tokens(await run(engine, request()))) == 8


async def test_a_failure_inside_the_model_fails_that_request_alone(
    engine: BatchEngine,
) -> None:
    beyond_the_vocabulary = request((10**6,))
    with pytest.raises(EngineError, match="generation failed"):
        await run(engine, beyond_the_vocabulary)
    assert len(tokens(await run(engine, request()))) == 8
    assert engine.failure is None


async def test_a_closed_engine_fails_what_is_left_and_takes_no_more(
    loaded_model: Load,
) -> None:
    engine = start(loaded_model("phi3"))
    left = engine.submit(request(max_new_tokens=4000))
    engine.close()
    with pytest.raises(NotReadyError):
        await asyncio.wait_for(_exhaust(left.chunks()), 10)
    with pytest.raises(NotReadyError):
        engine.submit(request())
    engine.join(10)


async def _exhaust(chunks: AsyncIterator[Chunk]) -> None:
    async for _ in chunks:
        pass
