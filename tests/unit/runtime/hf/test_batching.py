"""Requests that share a batch: each is answered as if it were alone.

Short in `make test`; SOAK_FACTOR multiplies prompts and disconnects.
"""

import asyncio
import gc
import os
import random
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GptOssConfig,
    MambaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen3MoeConfig,
)

from pykaito.runtime.hf import cache_memory, kv_cache
from pykaito.runtime.hf.batch_engine import BatchEngine
from pykaito.runtime.hf.engine import GenerationRequest
from pykaito.runtime.hf.errors import EngineError, NotReadyError
from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.generation import RunningGeneration
from pykaito.runtime.hf.kv_cache import UNIT, KVCache
from pykaito.runtime.hf.loading import LoadedModel
from pykaito.runtime.hf.model_runner import ModelRunner, Part, layer_shapes
from pykaito.runtime.hf.ragged_attention import Span
from pykaito.runtime.hf.scheduler import STEP_TOKENS, Sequence
from pykaito.runtime.hf.start_engine import start_runner

from .test_status_endpoints import samples

Load = Callable[[str], LoadedModel]
SOAK = int(os.environ.get("SOAK_FACTOR", "1"))
GREEDY = {"do_sample": False}
ANSWER = 24


def engine_of(loaded: LoadedModel, **limits: int) -> BatchEngine:
    runner = start_runner(parse_flags([]), loaded)
    assert runner is not None
    limits = {"max_running": 8, "max_waiting": 500} | limits
    return BatchEngine(loaded, runner, **limits)


@pytest.fixture
async def engine(loaded_model: Load) -> AsyncIterator[BatchEngine]:
    engine = engine_of(loaded_model("phi3"))
    yield engine
    engine.close()
    engine.join(10)


def request(prompt: tuple[int, ...], **changes: Any) -> GenerationRequest:
    fields: dict[str, Any] = {"max_new_tokens": ANSWER, "options": GREEDY}
    return GenerationRequest(id="test", prompt=prompt, **(fields | changes))


async def answer(engine: BatchEngine, wanted: GenerationRequest) -> list[int]:
    chunks = engine.submit(wanted).chunks()
    return [token async for chunk in chunks for token in chunk.token_ids]


def random_prompts(count: int, *, seed: int = 0) -> list[tuple[int, ...]]:
    dice = random.Random(seed)  # noqa: S311 - no secret
    return [
        tuple(dice.randrange(10, 2000) for _ in range(dice.randint(1, 150)))
        for _ in range(count)
    ]


def generated(loaded: LoadedModel, prompt: tuple[int, ...]) -> list[int]:
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        found = loaded.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=ANSWER,
            do_sample=False,
        )
    tokens: list[int] = found[0, len(prompt) :].tolist()
    return tokens


@pytest.mark.parametrize("architecture", ["phi3", "falcon", "llama"])
async def test_greedy_answers_are_those_of_generate_alone_or_with_others(
    architecture: str, loaded_model: Load
) -> None:
    loaded = loaded_model(architecture)
    prompts = random_prompts(10 * SOAK)
    expected = [generated(loaded, prompt) for prompt in prompts]
    engine = engine_of(loaded)
    together = await asyncio.gather(
        *(answer(engine, request(prompt)) for prompt in prompts)
    )
    alone = [await answer(engine, request(prompt)) for prompt in prompts]
    engine.close()
    engine.join(10)
    assert together == expected
    assert alone == expected


async def test_requests_of_all_kinds_beside_each_other_are_answered_as_alone(
    engine: BatchEngine,
) -> None:
    sampled = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    prompt = (40, 41, 42, 43)
    kinds = [
        request(prompt),
        request(prompt, options=sampled, seed=1),
        request(prompt, options=sampled | {"top_k": 5, "top_p": 0.9}, seed=2),
        request(prompt, options=sampled | {"min_p": 0.1}, seed=3, sequences=3),
        request(prompt, options=GREEDY | {"repetition_penalty": 1.5}),
        request(prompt, presence_penalty=2.0, frequency_penalty=1.0),
        request(prompt, logit_bias={50: 5.0}, top_logprobs=3),
        request(prompt, options=GREEDY | {"min_new_tokens": 20, "eos_token_id": 99}),
        request(prompt, options=GREEDY | {"num_beams": 2}, sequences=2),
        request(prompt, options=GREEDY | {"no_repeat_ngram_size": 2}),
    ]
    alone = [await answer(engine, kind) for kind in kinds]
    together = await asyncio.gather(*(answer(engine, kind) for kind in kinds))
    for one, same in zip(alone, together, strict=True):
        assert sorted(one) == sorted(same)  # sequences of one request interleave


async def test_the_batch_goes_on_while_generate_runs(engine: BatchEngine) -> None:
    beams = GREEDY | {"num_beams": 2}
    long = engine.submit(request((5,), options=beams, max_new_tokens=4000))
    assert len(await answer(engine, request((40, 41, 42)))) == ANSWER
    assert engine.running == 1
    long.cancel()
    assert [chunk async for chunk in long.chunks()] == []


async def test_a_request_joins_while_another_runs(engine: BatchEngine) -> None:
    long = engine.submit(request((5,), max_new_tokens=4000, options=NEVER_ENDING))
    chunks = long.chunks()
    await anext(chunks)
    assert len(await answer(engine, request((40, 41, 42)))) == ANSWER
    assert engine.running == 1
    long.cancel()


#: An end token that is never chosen.
NEVER = {"eos_token_id": 2047}
NEVER_ENDING = GREEDY | NEVER


async def test_a_long_prompt_is_read_in_parts(
    engine: BatchEngine, loaded_model: Load
) -> None:
    prompt = sum(random_prompts(20), ())[: 2 * STEP_TOKENS + 9]
    expected = generated(loaded_model("phi3"), prompt)
    found, _ = await asyncio.gather(
        answer(engine, request(prompt)), answer(engine, request((5, 6)))
    )
    assert found == expected


async def test_a_failure_inside_the_model_leaves_the_others_alone(
    engine: BatchEngine,
) -> None:
    prompts = random_prompts(6)
    expected = [await answer(engine, request(prompt)) for prompt in prompts]
    beyond_the_vocabulary = request((10**6,))
    with engine._changed:  # so that they come to the same step
        others = [
            asyncio.ensure_future(answer(engine, request(prompt))) for prompt in prompts
        ]
        failing = engine.submit(beyond_the_vocabulary)
        await asyncio.sleep(0)
    with pytest.raises(EngineError, match="generation failed"):
        await anext(failing.chunks())
    assert await asyncio.gather(*others) == expected


async def test_numbers_that_are_none_spoil_no_other_request(
    loaded_model: Load,
) -> None:
    """Those of a prompt that is left before its scores have told of them."""
    loaded = loaded_model("llama")
    runner = ModelRunner(loaded.model, KVCache(layer_shapes(loaded.model), UNIT))
    engine = BatchEngine(loaded, runner, max_running=8, max_waiting=8)
    long, short = (
        sum(random_prompts(50, seed=seed), ())[:length]
        for seed, length in [(0, 1800), (1, 1100)]
    )
    expected = [generated(loaded, prompt) for prompt in (short, long)]
    parts = 0

    def spoil(_layer: Any, ids: Any, found: Any) -> Any:
        nonlocal parts
        parts += 1
        if parts == 3:  # of four
            spoilt.cancel()
        return found.masked_fill(ids[0][..., None] == 77, float("nan"))

    hook = loaded.model.get_input_embeddings().register_forward_hook(spoil)
    with engine._changed:
        spoilt = engine.submit(request((77, *long[:1790])))
    assert [chunk async for chunk in spoilt.chunks()] == []
    hook.remove()
    # Side by side, so that the longer one's slots are looked at for both.
    found = await asyncio.gather(
        *(answer(engine, request(prompt)) for prompt in (short, long))
    )
    assert found == expected
    engine.close()
    engine.join(10)


async def test_what_a_failed_step_had_in_memory_is_there_for_the_next(
    engine: BatchEngine, loaded_model: Load
) -> None:
    """Else requests fail one by one for want of what all together took."""
    left: list[weakref.ref[Any]] = []
    still_there: list[Any] = []

    def fail_for_several(_layer: Any, inputs: Any, _found: Any) -> None:
        still_there.extend(one() for one in left if one() is not None)
        left.clear()
        if inputs[0].shape[1] > 1:
            activations = torch.zeros(100)
            left.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("out of memory")

    hook = loaded_model("phi3").model.lm_head.register_forward_hook(fail_for_several)
    with engine._changed:  # so that they come to the same step
        both = [
            asyncio.ensure_future(answer(engine, request(prompt, max_new_tokens=1)))
            for prompt in [(5, 6), (7, 8)]
        ]
        await asyncio.sleep(0)
    assert [len(tokens) for tokens in await asyncio.gather(*both)] == [1, 1]
    hook.remove()
    assert still_there == []


async def test_a_request_that_is_cancelled_while_generate_runs_leaves_nothing(
    engine: BatchEngine,
) -> None:
    beams = GREEDY | {"num_beams": 2}
    running = engine.submit(request((5,), options=beams, max_new_tokens=4000))
    waiting = [engine.submit(request((5,), options=beams)) for _ in range(9)]
    await answer(engine, request((6,)))  # it has seen all of them by now
    for generation in waiting:
        generation.cancel()
        assert [chunk async for chunk in generation.chunks()] == []
    assert engine.running == 1
    assert not engine._static
    running.cancel()


def test_a_request_that_never_fits_is_refused(
    start_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kv_cache, "UNIT", 256)
    monkeypatch.setattr(cache_memory, "UNIT", 256)
    server = start_server("--kv_cache_memory_bytes=1")
    card = server.http.get("/v1/models").json()["data"][0]
    assert card["max_model_len"] == 256
    body = {"prompt": [5] * 200, "max_tokens": 57}
    reply = server.http.post("/v1/completions", json=body)
    assert reply.status_code == 400
    assert "leave room for 56" in reply.json()["error"]["message"]
    assert server.http.post(
        "/v1/completions", json=body | {"max_tokens": 56}
    ).is_success


async def test_a_mistake_in_the_engine_asks_for_a_restart(engine: BatchEngine) -> None:
    """Rather than to answer nobody, as if nothing had happened."""
    del engine._scheduler
    with pytest.raises(NotReadyError):
        await answer(engine, request((5, 6)))
    assert engine.failure is not None


class FailingTokenizer:
    """One that cannot tell the text of some tokens."""

    def __init__(self, tokenizer: Any, failures: Mapping[int, BaseException]) -> None:
        self._tokenizer = tokenizer
        self._failures = failures

    def decode(self, ids: list[int], **options: Any) -> Any:
        if ids[-1] in self._failures:
            raise self._failures[ids[-1]]
        return self._tokenizer.decode(ids, **options)


class Panic(BaseException):
    """What a panic of Rust is in Python: no Exception."""


def with_failing_tokenizer(loaded: LoadedModel) -> LoadedModel:
    failures = {98: ValueError("no such token"), 99: Panic("unreachable")}
    return replace(loaded, tokenizer=FailingTokenizer(loaded.tokenizer, failures))


async def test_a_token_without_a_text_fails_its_request_alone(
    loaded_model: Load,
) -> None:
    engine = engine_of(with_failing_tokenizer(loaded_model("phi3")))
    long = engine.submit(request((5,), max_new_tokens=4000, options=NEVER_ENDING))
    chunks = long.chunks()
    await anext(chunks)
    with pytest.raises(EngineError, match="no such token"):
        await answer(engine, request((40, 41), logit_bias={98: 100.0}))
    await anext(chunks)
    assert (engine.running, engine.failure) == (1, None)
    engine.close()
    engine.join(10)


async def test_whatever_ends_the_engines_thread_asks_for_a_restart(
    loaded_model: Load,
) -> None:
    """And those who were answered in its last step have their answer."""
    engine = engine_of(with_failing_tokenizer(loaded_model("phi3")))
    with engine._changed:  # so that they come to the same step
        first = engine.submit(request((5,), max_new_tokens=1))
        second = engine.submit(request((40, 41), logit_bias={99: 100.0}))
    async with asyncio.timeout(10):
        assert len([chunk async for chunk in first.chunks()]) == 1
        with pytest.raises(NotReadyError, match="must restart: the engine failed"):
            await anext(second.chunks())
    assert engine.failure == "the engine failed: unreachable"
    engine.join(10)


async def test_a_step_that_does_not_end_asks_for_a_restart(
    loaded_model: Load,
) -> None:
    """A device can hang without an error; an engine with nothing to do does not."""
    loaded = loaded_model("phi3")
    runner = start_runner(parse_flags([]), loaded)
    engine = BatchEngine(loaded, runner, max_running=1, max_waiting=0, patience=0)
    hanging, released = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        hanging.set()
        released.wait(60)

    hook = loaded.model.lm_head.register_forward_hook(hang)
    answering = asyncio.ensure_future(answer(engine, request((5,), max_new_tokens=1)))
    await asyncio.to_thread(hanging.wait, 60)
    failure = engine.failure
    released.set()
    assert len(await answering) == 1
    hook.remove()
    engine.close()
    engine.join(10)
    assert (failure, engine.failure) == ("a step has not ended for 0 seconds", None)


async def test_requests_beyond_the_memory_wait_and_are_answered(
    loaded_model: Load,
) -> None:
    """Twelve of 400 tokens need more rows of 512 than a unit has."""
    loaded = loaded_model("llama")
    runner = ModelRunner(loaded.model, KVCache(layer_shapes(loaded.model), UNIT))
    engine = BatchEngine(loaded, runner, max_running=16, max_waiting=16)
    prompts = [prompt * 3 for prompt in random_prompts(40) if len(prompt) > 110][:12]
    assert len(prompts) == 12
    expected = [generated(loaded, prompt) for prompt in prompts]
    found = await asyncio.gather(
        *(answer(engine, request(prompt)) for prompt in prompts)
    )
    assert found == expected
    engine.close()
    engine.join(10)


async def test_requests_that_come_and_go_as_they_like_are_answered_right(
    loaded_model: Load,
) -> None:
    """Of many kinds, some cancelled at some time, with little memory."""
    loaded = loaded_model("llama")
    runner = ModelRunner(loaded.model, KVCache(layer_shapes(loaded.model), UNIT))
    dice = random.Random(5)  # noqa: S311 - no secret
    sampled = {"do_sample": True, "top_k": 0}
    # By chance, the end token may be drawn.
    whole = sampled | {"min_new_tokens": ANSWER}
    shared, *prompts = random_prompts(30 * SOAK, seed=1)
    prompts = [shared + one if dice.random() < 0.3 else one for one in prompts]
    # Beforehand: a model is its engine's alone.
    expected = {prompt: generated(loaded, prompt) for prompt in prompts}

    engine = BatchEngine(loaded, runner, max_running=24, max_waiting=1000)

    async def one(prompt: tuple[int, ...]) -> None:
        kind = dice.choice(["greedy", "greedy", "cancelled", "sampled", "beams"])
        await asyncio.sleep(dice.random() * SOAK)
        if kind == "greedy":
            assert await answer(engine, request(prompt)) == expected[prompt]
        elif kind == "sampled":
            wanted = request(prompt, options=whole, sequences=3)
            assert len(await answer(engine, wanted)) == 3 * ANSWER
        elif kind == "beams":
            wanted = request(prompt, options=NEVER | {"num_beams": 2})
            assert len(await answer(engine, wanted)) == ANSWER
        else:
            left = dice.randint(0, 5)
            generation = engine.submit(request(prompt, sequences=2, options=sampled))
            async for _ in generation.chunks():
                left -= 1
                if left < 0:
                    break
            generation.cancel()

    await asyncio.gather(*(one(prompt) for prompt in prompts))
    # The step of this one has let go of all others.
    await answer(engine, request((5,)))
    assert (engine.running, engine.waiting) == (0, 0)
    assert (engine.cache_usage, engine.failure) == (0, None)
    engine.close()
    engine.join(10)


def live() -> int:
    gc.collect()
    kinds = {RunningGeneration, Sequence}
    return sum(type(one) in kinds for one in gc.get_objects())


def test_clients_that_hang_up_leave_nothing_behind(start_server: Any) -> None:
    server = start_server("--max_num_seqs=8")
    body = {"prompt": "a", "max_tokens": 4000, "temperature": 0, "stream": True}
    body |= {"logit_bias": {"3": -100, "7": -100}, "n": 1}  # never an end token

    async def hang_up(http: httpx.AsyncClient, count: int) -> None:
        for _ in range(count):
            async with http.stream("POST", "/v1/completions", json=body) as reply:
                lines = reply.aiter_lines()
                await anext(lines)

    async def many(count: int) -> None:
        limits = httpx.Limits(max_connections=None)
        url = server.url
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
            await asyncio.gather(*(hang_up(http, count) for _ in range(10)))

    def idle() -> None:
        while server.lifecycle.engine.running or server.lifecycle._in_flight:
            pass

    asyncio.run(many(1))
    idle()
    threads, objects = threading.active_count(), live()
    asyncio.run(many(5 * SOAK))
    idle()
    assert threading.active_count() <= threads
    assert live() <= objects
    assert server.lifecycle.engine.cache_usage == 0
    assert samples(server)["vllm:num_requests_running", ""] == 0
    assert server.http.post("/v1/completions", json={"prompt": "a"}).is_success


COMMON: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SHARED = COMMON | {"intermediate_size": 96, "num_key_value_heads": 2, "pad_token_id": 0}
LAYERS = ["sliding_attention", "full_attention"]
SHARING: dict[str, Any] = {
    "falcon-40b": FalconConfig(
        **COMMON, new_decoder_architecture=True, num_kv_heads=2, alibi=False
    ),
    "gemma-3": Gemma3TextConfig(
        **SHARED, head_dim=16, sliding_window=8, layer_types=LAYERS
    ),
    "gemma-2": Gemma2Config(**SHARED, head_dim=16, sliding_window=8),
    "gpt-oss": GptOssConfig(**SHARED, head_dim=16, num_local_experts=4),
    "gpt-neox": GPTNeoXConfig(**COMMON),
    "mistral": MistralConfig(**SHARED, sliding_window=8),
    "phi-2": PhiConfig(**SHARED),
    # Longer than 64, a sequence has other positions.
    "phi-3-long": Phi3Config(
        **SHARED,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * 8,
            "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
            "original_max_position_embeddings": 64,
        },
        original_max_position_embeddings=64,
    ),
    "qwen-2": Qwen2Config(**SHARED),
    "qwen-3-moe": Qwen3MoeConfig(
        **SHARED,
        head_dim=16,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=32,
    ),
}
ALONE: dict[str, tuple[Any, str]] = {
    "falcon-rw": (FalconConfig(**COMMON, alibi=True), "ALiBi"),
    "bloom": (
        BloomConfig(vocab_size=512, hidden_size=64, n_layer=2, n_head=4),
        "other",
    ),
    "mamba": (
        MambaConfig(vocab_size=512, hidden_size=64, num_hidden_layers=2),
        "linear_attention",
    ),
}


def model_of(config: Any, like: LoadedModel) -> LoadedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for weights in model.parameters():
        weights.data.mul_(6)  # so that attention matters
    return replace(like, model=model, context_length=512)


@pytest.mark.parametrize("name", SHARING)
def test_tokens_read_in_any_parts_have_the_scores_of_the_whole(
    name: str, loaded_model: Load
) -> None:
    """Not the likeliest tokens alone, which small models choose out of habit."""
    model = model_of(SHARING[name], loaded_model("llama")).model
    runner = ModelRunner(model, KVCache(layer_shapes(model), UNIT))
    texts = [[(7 * at + 13 * text) % 500 + 3 for at in range(40)] for text in (1, 2)]
    rows = [runner.cache.take(40) for _ in texts]
    for cuts in [(0, 25), (0, 1)], [(25, 26), (1, 20)], [(26, 39), (20, 39)]:
        parts(runner, rows, texts, cuts)
    scores, order = parts(runner, rows, texts, [(39, 40), (39, 40)])
    for index, found in zip(order, scores, strict=True):
        with torch.inference_mode():
            whole = model(torch.tensor([texts[index]]), use_cache=False).logits[0, -1]
        assert torch.allclose(found, whole, rtol=1e-3, atol=1e-4)


def test_sequences_with_other_positions_are_read_apart(loaded_model: Load) -> None:
    model = model_of(SHARING["phi-3-long"], loaded_model("llama")).model
    runner = ModelRunner(model, KVCache(layer_shapes(model), UNIT))
    assert runner.switch == 64
    texts = [[(7 * at) % 500 + 3 for at in range(length)] for length in (50, 90)]
    rows = [runner.cache.take(90) for _ in texts]
    scores, order = parts(runner, rows, texts, [(0, 50), (0, 90)])
    for index, found in zip(order, scores, strict=True):
        with torch.inference_mode():
            whole = model(torch.tensor([texts[index]]), use_cache=False).logits[0, -1]
        assert torch.allclose(found, whole, rtol=1e-3, atol=1e-4)


def parts(
    runner: ModelRunner, rows: list[Any], texts: list[list[int]], cuts: Any
) -> Any:
    """Read a part of each text."""
    return runner.forward(
        [
            Part(Span(row, start, end - start), text[start:end])
            for row, text, (start, end) in zip(rows, texts, cuts, strict=True)
        ]
    )


@pytest.mark.parametrize("name", SHARING)
async def test_models_of_other_families_share_a_batch_too(
    name: str, loaded_model: Load
) -> None:
    loaded = model_of(SHARING[name], loaded_model("llama"))
    prompts = [
        tuple(token % 500 + 3 for token in prompt) for prompt in random_prompts(6)
    ]
    expected = [generated(loaded, prompt) for prompt in prompts]
    engine = engine_of(loaded)
    found = await asyncio.gather(
        *(answer(engine, request(prompt)) for prompt in prompts)
    )
    engine.close()
    engine.join(10)
    assert found == expected


@pytest.mark.parametrize("name", ALONE)
async def test_a_model_that_cannot_share_a_batch_is_asked_one_at_a_time(
    name: str, loaded_model: Load, caplog: pytest.LogCaptureFixture
) -> None:
    config, reason = ALONE[name]
    loaded = model_of(config, loaded_model("llama"))
    assert start_runner(parse_flags([]), loaded) is None
    assert "requests are answered one at a time" in caplog.messages
    assert reason in caplog.records[-1].__dict__["reason"]
    engine = BatchEngine(loaded, None, max_running=8, max_waiting=2)
    assert (engine.batching, engine.places) == (False, 3)
    prompts = [(40, 41), (50,)]
    expected = [generated(loaded, prompt) for prompt in prompts]
    found = await asyncio.gather(
        *(answer(engine, request(prompt)) for prompt in prompts)
    )
    engine.close()
    engine.join(10)
    assert found == expected


async def test_a_models_own_code_that_knows_no_batch_is_asked_one_at_a_time(
    loaded_model: Load, caplog: pytest.LogCaptureFixture
) -> None:
    """As code that comes with a model may: it knows how many, but not which."""
    loaded = model_of(SHARING["qwen-2"], loaded_model("llama"))
    forward = loaded.model.forward

    def last_ones(*inputs: Any, logits_to_keep: int = 0, **options: Any) -> Any:
        found = forward(*inputs, **options)
        found.logits = found.logits[:, -logits_to_keep:]
        return found

    loaded.model.forward = last_ones
    assert start_runner(parse_flags([]), loaded) is None
    assert "fails on a ragged batch" in caplog.records[-1].__dict__["reason"]


async def test_a_model_on_several_devices_is_given_no_tensor_of_another(
    loaded_model: Load,
) -> None:
    loaded = model_of(SHARING["qwen-2"], loaded_model("llama"))
    prompts = [tuple(range(3, 20)), tuple(range(30, 40))]
    expected = [generated(loaded, prompt) for prompt in prompts]
    elsewhere = torch.empty(1, device="meta")
    loaded.model.lm_head.elsewhere = torch.nn.Parameter(elsewhere)
    forward, kept = loaded.model.forward, []

    def noting(*inputs: Any, logits_to_keep: Any = 0, **options: Any) -> Any:
        kept.append(logits_to_keep)
        return forward(*inputs, logits_to_keep=logits_to_keep, **options)

    loaded.model.forward = noting
    engine = engine_of(loaded)
    found = await asyncio.gather(
        *(answer(engine, request(prompt)) for prompt in prompts)
    )
    engine.close()
    engine.join(10)
    assert found == expected
    assert list in map(type, kept)
    assert torch.Tensor not in map(type, kept)


def test_metrics_say_whether_requests_share_a_batch(start_server: Any) -> None:
    server = start_server()
    found = samples(server)
    assert found["kaito_continuous_batching", ""] == 1
    assert found["vllm:kv_cache_usage_perc", ""] == 0
