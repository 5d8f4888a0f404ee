"""Requests that ask for one of several adapters, beside others that do not.

Short in `make test`; SOAK_FACTOR multiplies prompts.
"""

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pykaito.runtime.hf import lora_correction
from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.batch_engine import BatchEngine
from pykaito.runtime.hf.engine import GenerationRequest
from pykaito.runtime.hf.kv_cache import UNIT, KVCache
from pykaito.runtime.hf.loading import LoadedModel
from pykaito.runtime.hf.lora_correction import correct_by_choice
from pykaito.runtime.hf.lora_files import PREFIX, read_adapter
from pykaito.runtime.hf.lora_merge import merge_adapters
from pykaito.runtime.hf.model_runner import ModelRunner, layer_shapes
from pykaito.runtime.hf.scheduler import STEP_TOKENS

from .lora import factors, write_adapter
from .test_batching import (
    GREEDY,
    SHARING,
    SOAK,
    answer,
    engine_of,
    generated,
    model_of,
    random_prompts,
    request,
)

#: What is adapted in each; the output layers share the embeddings' weights or not.
TARGETS = {
    "phi3": ["qkv_proj", "o_proj", "down_proj", "lm_head"],
    "falcon": ["query_key_value", "dense_4h_to_h", "lm_head"],
    "llama": ["q_proj", "v_proj", "gate_proj", "embed_tokens"],
}
#: Rank, alpha, whether it is rank-stabilised, strength, and where it begins in the
#: list of modules: not all adapters are of the same ones.
KINDS = {
    "legal": (4, 16, False, 1.0, 0),
    "support.v1": (3, 2, True, 0.5, 1),
    "off": (2, 8, False, 0.0, 0),
}
ALL = (None, *KINDS)


@dataclass(frozen=True)
class Adapted:
    """A model with adapters; and by definition, with all of them and with each."""

    loaded: LoadedModel
    right: Mapping[str | None, LoadedModel]
    adapters: Sequence[Adapter]


def written(
    folder: Path, base: Any, targets: Sequence[str], name: str, seed: int
) -> Any:
    """Write an adapter; return it and what it adds to each module's weights."""
    rank, alpha, stabilised, strength, first = KINDS[name]
    modules = {
        path: module
        for path, module in base.named_modules()
        if path.rpartition(".")[2] in targets[first:]
    }
    pairs, extra, deltas = {}, {}, {}
    share = strength * alpha / (rank**0.5 if stabilised else rank)
    for place, (path, module) in enumerate(modules.items()):
        outputs, inputs = module.weight.shape
        embeds = isinstance(module, torch.nn.Embedding)
        if embeds:
            outputs, inputs = inputs, outputs
        a, b = factors(inputs, outputs, rank=rank, seed=100 * seed + place, scale=0.15)
        delta = share * b.double() @ a.double()
        deltas[path] = delta.T if embeds else delta
        if embeds:
            extra[f"{PREFIX}{path}.lora_embedding_A"] = a
            extra[f"{PREFIX}{path}.lora_embedding_B"] = b
        else:
            pairs[path] = (a, b)
    adapter = write_adapter(
        folder / name,
        pairs,
        strength=strength,
        extra=extra,
        r=rank,
        lora_alpha=alpha,
        use_rslora=stabilised,
    )
    return adapter, deltas


def by_definition(base: Any, deltas: Sequence[Mapping[str, Any]]) -> Any:
    model = copy.deepcopy(base)
    for path in sorted({path for one in deltas for path in one}):
        module = model.get_submodule(path)
        total = sum(one[path] for one in deltas if path in one)
        weight = (module.weight.double() + total).float()
        module.weight = torch.nn.Parameter(weight, requires_grad=False)
    return model


def with_adapters(base: LoadedModel, targets: Sequence[str], folder: Path) -> Adapted:
    pairs = {
        name: written(folder, base.model, targets, name, seed)
        for seed, name in enumerate(KINDS)
    }
    deltas = {name: [delta] for name, (_, delta) in pairs.items()}
    whole = [delta for _, delta in pairs.values()]
    right = {
        name: replace(base, model=by_definition(base.model, parts))
        for name, parts in {None: whole, **deltas}.items()
    }
    adapters = [adapter for adapter, _ in pairs.values()]
    files = [read_adapter(adapter) for adapter in adapters]
    model = copy.deepcopy(base.model)
    merge_adapters(model, files)
    choices = correct_by_choice(model, files)
    return Adapted(replace(base, model=model, choices=choices), right, adapters)


@pytest.fixture(scope="module")
def adapted(
    loaded_model: Callable[[str], LoadedModel], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Adapted]:
    """Give a tiny model adapters, once."""
    made: dict[str, Adapted] = {}

    def load(architecture: str) -> Adapted:
        if architecture not in made:
            base, targets = loaded_model(architecture), TARGETS[architecture]
            folder = tmp_path_factory.mktemp("adapters")
            made[architecture] = with_adapters(base, targets, folder)
        return made[architecture]

    return load


Load = Callable[[str], Adapted]


def everybody(
    prompts: Sequence[tuple[int, ...]], **changes: Any
) -> list[GenerationRequest]:
    """Return a request for each prompt and each choice."""
    return [
        request(prompt, adapter=name, **changes) for prompt in prompts for name in ALL
    ]


def expected(adapted: Adapted, wanted: GenerationRequest) -> list[int]:
    return generated(adapted.right[wanted.adapter], wanted.prompt)


async def together(
    engine: BatchEngine, wanted: Sequence[GenerationRequest]
) -> list[list[int]]:
    return await asyncio.gather(*(answer(engine, one) for one in wanted))


def stop(engine: BatchEngine) -> None:
    engine.close()
    engine.join(10)


@pytest.mark.parametrize("architecture", TARGETS)
async def test_each_request_is_answered_by_what_it_asks_for_alone_or_with_others(
    architecture: str, adapted: Load
) -> None:
    model = adapted(architecture)
    wanted = everybody(random_prompts(6 * SOAK))
    right = [expected(model, one) for one in wanted]
    choices = {tuple(map(tuple, right[at :: len(ALL)])) for at in range(len(ALL))}
    assert len(choices) == len(ALL), "the adapters make no difference"
    engine = engine_of(model.loaded)
    assert await together(engine, wanted) == right
    assert [await answer(engine, one) for one in wanted[: 6 * len(ALL)]] == right[
        : 6 * len(ALL)
    ]
    stop(engine)


async def test_what_one_adapter_has_read_serves_no_other(adapted: Load) -> None:
    """Nor do its keys and values while they are in the batch."""
    model = adapted("llama")
    prompt = sum(random_prompts(3, seed=7), ())
    assert len(prompt) > 100
    wanted = everybody([prompt, prompt])
    right = [expected(model, one) for one in wanted]
    engine = engine_of(model.loaded)
    for one, same in zip(wanted, right, strict=True):
        assert await answer(engine, one) == same
    assert await together(engine, wanted) == right
    stop(engine)


async def test_what_an_adapter_has_read_serves_itself(adapted: Load) -> None:
    engine = engine_of(adapted("llama").loaded)
    runner = engine._runner
    assert runner is not None
    read: list[int] = []
    forward = runner.forward

    def counted(parts: Any) -> Any:
        read.append(sum(part.span.count for part in parts))
        return forward(parts)

    runner.forward = counted  # type: ignore[method-assign]
    prompt = tuple(range(40, 140))
    for name, tokens in (("legal", 100), (None, 100), ("legal", 1)):
        read.clear()
        await answer(engine, request(prompt, adapter=name))
        assert read[0] == tokens
    stop(engine)


async def test_answers_that_gave_their_memory_up_go_on_with_their_adapter(
    adapted: Load,
) -> None:
    """Twelve of 400 tokens need more rows of 512 than a unit has."""
    model = adapted("llama")
    runner = ModelRunner(
        model.loaded.model, KVCache(layer_shapes(model.loaded.model), UNIT)
    )
    engine = BatchEngine(model.loaded, runner, max_running=16, max_waiting=16)
    prompts = [prompt * 3 for prompt in random_prompts(40) if len(prompt) > 110][:3]
    wanted = everybody(prompts)
    assert len(wanted) == 12
    right = [expected(model, one) for one in wanted]
    assert await together(engine, wanted) == right
    stop(engine)


async def test_a_long_prompt_is_read_in_parts_with_its_adapter(adapted: Load) -> None:
    model = adapted("phi3")
    prompt = sum(random_prompts(20), ())[: STEP_TOKENS + 9]
    wanted = everybody([prompt, (5, 6)])
    right = [expected(model, one) for one in wanted]
    engine = engine_of(model.loaded)
    assert await together(engine, wanted) == right
    stop(engine)


async def test_positions_change_with_an_adapter_as_with_all(
    loaded_model: Callable[[str], LoadedModel], tmp_path: Path
) -> None:
    """Some prompts are longer than that, some answers become so."""
    base = model_of(SHARING["phi-3-long"], loaded_model("llama"))
    model = with_adapters(base, ["qkv_proj", "down_proj"], tmp_path)
    prompts = [
        tuple((7 * at + length) % 500 + 3 for at in range(length))
        for length in (30, 50, 60, 90)
    ]
    wanted = everybody(prompts)
    right = [expected(model, one) for one in wanted]
    engine = engine_of(model.loaded)
    assert await together(engine, wanted) == right
    stop(engine)


async def test_several_answers_to_one_prompt_are_its_adapters(adapted: Load) -> None:
    """Drawn from one token, the likeliest: so each is the greedy answer."""
    model = adapted("phi3")
    options = {"do_sample": True, "top_k": 1}
    wanted = everybody(random_prompts(2), sequences=3, options=options)
    engine = engine_of(model.loaded)
    for one, found in zip(wanted, await together(engine, wanted), strict=True):
        assert sorted(found) == sorted(3 * expected(model, one))
    stop(engine)


@pytest.mark.parametrize("beside", [ALL, (None,)])
async def test_generate_answers_with_the_adapter_while_the_batch_has_others(
    beside: Sequence[str | None], adapted: Load
) -> None:
    model = adapted("llama")
    beams = GREEDY | {"num_beams": 3}
    prompts = random_prompts(2)
    searched = everybody(prompts, options=beams, max_new_tokens=12)
    batched = [one for one in everybody(prompts) if one.adapter in beside]
    right = []
    for one in searched:
        ids = torch.tensor([one.prompt])
        found = model.right[one.adapter].model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, **beams
        )
        right.append(found[0, len(one.prompt) :].tolist())
    right += [expected(model, one) for one in batched]
    engine = engine_of(model.loaded)
    assert await together(engine, [*searched, *batched]) == right
    stop(engine)


async def test_a_model_that_shares_no_batch_answers_with_adapters_too(
    adapted: Load,
) -> None:
    model = adapted("llama")
    wanted = everybody(random_prompts(2))
    right = [expected(model, one) for one in wanted]
    engine = BatchEngine(model.loaded, None, max_running=8, max_waiting=20)
    assert await together(engine, wanted) == right
    stop(engine)


@pytest.fixture(scope="module")
def server(start_server: Any, adapted: Load) -> Any:
    return start_server("--served_model_name=phi", adapters=adapted("phi3").adapters)


def test_adapters_are_listed_behind_the_model(server: Any) -> None:
    model, *adapters = server.http.get("/v1/models").json()["data"]
    assert (model["id"], model["parent"]) == ("phi", None)
    assert [one["id"] for one in adapters] == list(KINDS)
    for one in adapters:
        assert one["root"].endswith(f"/{one['id']}")
        assert one == model | {"id": one["id"], "root": one["root"], "parent": "phi"}


def test_adapters_that_cannot_be_told_apart_are_not_listed(
    start_server: Any, adapted: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora_correction, "PLAIN", ())
    monkeypatch.setattr(lora_correction, "TOLERANCE", -1.0)
    server = start_server(adapters=adapted("phi3").adapters)
    (model,) = server.http.get("/v1/models").json()["data"]
    body = {"model": "legal", "prompt": "a"}
    assert server.http.post("/v1/completions", json=body).status_code == 404
    body["model"] = model["id"]
    assert server.http.post("/v1/completions", json=body).is_success


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["phi", *KINDS])
def test_a_reply_is_of_the_model_that_its_request_names(
    server: Any, adapted: Load, name: str, stream: bool
) -> None:
    model = adapted("phi3")
    (prompt,) = random_prompts(1)
    adapter = name if name in KINDS else None
    right = model.loaded.decode(expected(model, request(prompt, adapter=adapter)))
    found = server.openai.completions.create(
        model=name, prompt=list(prompt), max_tokens=24, temperature=0, stream=stream
    )
    events = list(found) if stream else [found]
    assert "".join(event.choices[0].text for event in events) == right
    assert {event.model for event in events} == {name}


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_may_name_an_adapter(server: Any, stream: bool) -> None:
    def said(model: str) -> str:
        found = server.openai.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "def main():"}],
            max_tokens=20,
            temperature=0,
            stream=stream,
        )
        events = list(found) if stream else [found]
        assert {event.model for event in events} == {model}
        if stream:
            return "".join(one.choices[0].delta.content or "" for one in events)
        return str(found.choices[0].message.content)

    assert len({said(name) for name in ("phi", *KINDS)}) == len(ALL)


def test_kaitos_endpoint_is_answered_by_all_adapters_together(
    server: Any, adapted: Load
) -> None:
    model = adapted("phi3")
    text = "def main():"
    prompt = tuple(model.loaded.tokenizer(text).input_ids)
    kwargs = {"max_new_tokens": 24, "do_sample": False}
    body = {"prompt": text, "return_full_text": False, "generate_kwargs": kwargs}
    found = server.http.post("/chat", json=body).json()["Result"]
    whole = model.loaded.decode([*prompt, *expected(model, request(prompt))])
    assert whole.endswith(found)
    assert found


@pytest.mark.parametrize("path", ["completions", "chat/completions"])
def test_a_name_that_is_no_adapters_is_refused_with_those_that_are(
    server: Any, path: str
) -> None:
    body: dict[str, Any] = {"model": "other", "max_tokens": 1}
    said = {"role": "user", "content": "a"}
    body |= {"prompt": "a"} if path == "completions" else {"messages": [said]}
    reply = server.http.post(f"/v1/{path}", json=body)
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert error["code"] == "model_not_found"
    assert error["message"] == (
        "model: found 'other', this server has 'phi', 'legal', 'support.v1', 'off'"
    )
