"""A batch chooses as ``generate`` does, whatever the other rows ask for."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig
from transformers.generation import GenerationMixin, LogitsProcessorList

from pykaito.runtime.hf.batch_sampling import (
    Sampler,
    SamplingParams,
    choose,
    sampling_params,
    token_logprob,
)
from pykaito.runtime.hf.engine import GenerationRequest
from pykaito.runtime.hf.sampling import logits_processors

VOCABULARY = 40
PROMPT = (3, 4, 5)
DEFAULTS: dict[str, Any] = {}


class LoadedDice(Sampler):
    """One whose next number is known."""

    number = 0.0

    def draw(self) -> float:
        return self.number


def expected(
    request: GenerationRequest, answer: list[int], scores: Any, number: float
) -> int:
    """Return what ``generate``'s own processors make of a row."""
    config = GenerationConfig(**request.options)
    config._eos_token_tensor = torch.tensor([7])
    processors: LogitsProcessorList = GenerationMixin._get_logits_processor(
        _Model(),
        config,
        input_ids_seq_length=len(PROMPT),
        logits_processor=logits_processors(request),
    )
    tokens = torch.tensor([[*PROMPT, *answer]])
    found = processors(tokens, scores[None].clone())[0]
    if not config.do_sample:
        return int(found.argmax())
    edges = found.softmax(-1).double().cumsum(-1)
    return int(torch.searchsorted(edges, number * edges[-1], right=True))


class _Model:
    """As much of a model as the processors look at."""

    class config:  # noqa: N801 - as models have it
        is_encoder_decoder = False

    _merge_criteria_processor_list = GenerationMixin._merge_criteria_processor_list


requests = st.builds(
    lambda options, **fields: GenerationRequest(
        id="test", prompt=PROMPT, max_new_tokens=9, options=options, **fields
    ),
    st.fixed_dictionaries(
        {
            "do_sample": st.booleans(),
            "temperature": st.sampled_from([0.1, 0.7, 1.0, 2.0]),
            "top_k": st.sampled_from([0, 1, 5, 39, 3000]),
            "top_p": st.sampled_from([0.05, 0.5, 0.9, 1.0]),
            "repetition_penalty": st.sampled_from([0.5, 1.0, 1.3]),
        },
        optional={
            "min_p": st.sampled_from([0.05, 0.5, 1.0]),
            "min_new_tokens": st.integers(0, 4),
        },
    ),
    presence_penalty=st.sampled_from([0.0, 1.5, -2.0]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    logit_bias=st.sampled_from([{}, {5: 100.0}, {1: -100.0, 9: 2.5}]),
)
rows = st.tuples(
    requests, st.lists(st.integers(0, 39), max_size=4), st.floats(0, 0.999)
)


@settings(max_examples=150, deadline=None)
@given(batch=st.lists(rows, min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_each_row_has_the_token_that_generate_would_choose(
    batch: list[tuple[GenerationRequest, list[int], float]], seed: int
) -> None:
    torch.manual_seed(seed)
    scores = torch.randn(len(batch), VOCABULARY) * 3
    samplers, wanted = [], []
    for (request, answer, number), row in zip(batch, scores, strict=True):
        params = sampling_params(request, DEFAULTS, [7])
        assert params is not None
        sampler = LoadedDice(params, PROMPT, None, 0)
        sampler.counts(VOCABULARY, scores.device)
        for token in answer:
            sampler.take(token)
        sampler.number = number
        samplers.append(sampler)
        wanted.append(expected(request, answer, row, number))
    assert [choice.token_id for choice in choose(scores, samplers)] == wanted


def one(options: dict[str, Any], **fields: Any) -> GenerationRequest:
    return GenerationRequest(
        id="test", prompt=PROMPT, max_new_tokens=4, options=options, **fields
    )


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 2},
        {"typical_p": 0.9},
        {"no_repeat_ngram_size": 2},
        {"bad_words_ids": [[1]]},
        {"forced_eos_token_id": 1},
        {"remove_invalid_values": True},
        {"do_sample": True, "temperature": -1.0},
        {"something_new": 3},
    ],
)
def test_what_only_generate_knows_is_left_to_it(options: dict[str, Any]) -> None:
    assert sampling_params(one(options), DEFAULTS, ()) is None


def test_the_models_own_settings_count_where_a_request_is_silent() -> None:
    assert sampling_params(one({}), {"suppress_tokens": [1]}, ()) is None
    params = sampling_params(one({"do_sample": True}), {"temperature": 0.3}, ())
    assert params is not None
    assert (params.temperature, params.top_k) == (0.3, 50)


def test_all_settings_of_kaitos_chat_that_change_nothing_stay_in_the_batch() -> None:
    options = {
        "do_sample": True,
        "early_stopping": False,
        "num_beams": 1,
        "temperature": 1.0,
        "top_k": 10,
        "top_p": 1.0,
        "typical_p": 1.0,
        "repetition_penalty": 1.0,
        "length_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "encoder_no_repeat_ngram_size": 0,
        "remove_invalid_values": False,
    }
    assert sampling_params(one(options), DEFAULTS, ()) is not None


def test_draws_are_as_likely_as_the_scores_say() -> None:
    params = sampling_params(one({"do_sample": True, "top_k": 0}), DEFAULTS, ())
    assert params is not None
    scores = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    samplers = [Sampler(params, PROMPT, 1, index) for index in range(4000)]
    choices = choose(scores.expand(4000, -1), samplers)
    counts = torch.zeros(4)
    for choice in choices:
        assert choice.token_id is not None
        counts[choice.token_id] += 1
    assert (counts / 4000 - scores[0].softmax(0)).abs().max() < 0.03


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {"presence_penalty": 2.0}),
        ({}, {"frequency_penalty": 2.0}),
        ({"repetition_penalty": 3.0}, {}),
    ],
)
def test_penalties_know_what_was_chosen_before(
    options: dict[str, Any], fields: dict[str, Any]
) -> None:
    params = sampling_params(one(options, **fields), DEFAULTS, ())
    assert params is not None
    sampler = Sampler(params, (3,), None, 0)
    scores = torch.tensor([[2.0, 1.5, 1.0, -9.0]])
    chosen = [choose(scores, [sampler])[0].token_id for _ in range(3)]
    assert chosen == [0, 1, 2]


def test_a_sequence_has_as_many_tokens_as_it_must() -> None:
    params = sampling_params(one({"min_new_tokens": 2}), DEFAULTS, [0])
    assert params is not None
    sampler = Sampler(params, PROMPT, None, 0)
    scores = torch.tensor([[2.0, 1.0]])
    chosen = [choose(scores, [sampler])[0].token_id for _ in range(3)]
    assert chosen == [1, 1, 0]


def test_the_same_seed_and_index_throw_the_same_dice() -> None:
    params = sampling_params(one({}), DEFAULTS, ())
    assert params is not None
    numbers = [
        [Sampler(params, PROMPT, seed, index).draw() for _ in range(2)]
        for seed, index in [(7, 0), (7, 0), (7, 1), (8, 0)]
    ]
    assert numbers[0] == numbers[1]
    assert len({tuple(one) for one in numbers}) == 3


def test_a_row_without_numbers_spoils_no_other() -> None:
    params = sampling_params(one({"do_sample": True}), DEFAULTS, ())
    assert params is not None
    scores = torch.tensor([[float("nan")] * 4, [0.0, 9.0, 0.0, 0.0]])
    samplers = [Sampler(params, PROMPT, 1, index) for index in range(2)]
    bad, good = choose(scores, samplers)
    assert bad.token_id is None
    assert good.token_id is not None


def test_each_row_tells_as_many_log_probabilities_as_it_was_asked_for() -> None:
    torch.manual_seed(0)
    scores = torch.randn(4, 50)
    tops = [2, None, 0, 5]
    samplers = [
        Sampler(SamplingParams(logit_bias={}, top_logprobs=top), (1,), None, 0)
        for top in tops
    ]
    logprobs = torch.log_softmax(scores, dim=-1)
    for row, (choice, top) in enumerate(
        zip(choose(scores, samplers), tops, strict=True)
    ):
        assert choice.token_id is not None
        assert choice.token_id == scores[row].argmax()
        if top is None:
            assert choice.logprob is None
        else:
            assert choice.logprob == token_logprob(logprobs[row], choice.token_id, top)
