"""Choosing the next token of many sequences at once, each by rules of its own.

The rules and their order are those of ``generate``: a row's token is the one
that it would choose there, or is drawn from the same probabilities.
"""

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pykaito.runtime.hf.engine import GenerationRequest, TokenLogprob
from pykaito.runtime.hf.transfer import on_device

Tensor = Any  # torch publishes no types that strict mode can read

#: Settings of ``generate`` that `SamplingParams` has, or that change no token
#: of a search without beams.
UNDERSTOOD = {
    *("do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty"),
    *("min_length", "min_new_tokens", "max_length", "max_new_tokens"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "num_return_sequences"),
    *("early_stopping", "length_penalty", "use_cache", "cache_implementation"),
    *("return_dict_in_generate", "transformers_version", "max_cache_len"),
}
#: Values of the others that change nothing.
NEUTRAL = {
    "num_beams": 1,
    "typical_p": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
#: What ``generate`` takes when nobody says.
DEFAULT_TOP_K = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How one request's tokens are chosen."""

    #: 0: the likeliest token, always.
    temperature: float = 0.0
    #: 0: off.
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float]
    #: Tokens before which there is no end.
    min_new_tokens: int = 0
    end_tokens: Collection[int] = ()
    top_logprobs: int | None = None

    @property
    def counts(self) -> bool:
        """Whether what was generated before matters."""
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
        )

    @property
    def plain(self) -> bool:
        """Whether the likeliest token of the model's own scores is the one."""
        return not (
            self.temperature
            or self.counts
            or self.logit_bias
            or self.min_new_tokens
            or self.top_logprobs is not None
        )


def sampling_params(
    request: GenerationRequest,
    defaults: Mapping[str, Any],
    end_tokens: Collection[int],
) -> SamplingParams | None:
    """Return how to choose a request's tokens, or None if only ``generate`` can.

    Args:
        request: What is asked for.
        defaults: The model's settings, for what the request leaves out.
        end_tokens: What ends this request's sequences.
    """
    settings = {**defaults, **request.options}
    settings = {name: value for name, value in settings.items() if value is not None}
    if any(
        value not in (False, NEUTRAL.get(name))
        for name, value in settings.items()
        if name not in UNDERSTOOD
    ):
        return None
    sampled = bool(settings.get("do_sample", False))
    temperature = float(settings.get("temperature", 1.0))
    if sampled and temperature <= 0:
        return None  # refused there
    least = settings.get("min_new_tokens") or max(
        0, settings.get("min_length", 0) - len(request.prompt)
    )
    return SamplingParams(
        temperature=temperature if sampled else 0.0,
        top_k=int(settings.get("top_k", DEFAULT_TOP_K)) if sampled else 0,
        top_p=float(settings.get("top_p", 1.0)) if sampled else 1.0,
        min_p=float(settings.get("min_p", 0.0)) if sampled else 0.0,
        repetition_penalty=float(settings.get("repetition_penalty", 1.0)),
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        logit_bias=request.logit_bias,
        min_new_tokens=int(least),
        end_tokens=end_tokens,
        top_logprobs=request.top_logprobs,
    )


class TokenCounts:
    """Which tokens a sequence has: in all, and how often in its answer."""

    def __init__(self, prompt: Sequence[int], vocabulary: int, device: Any) -> None:
        self.seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        self.seen[on_device(prompt, device)] = True
        self.answer = torch.zeros(vocabulary, device=device)

    def add(self, token_id: int) -> None:
        """Count a token of the answer."""
        self.seen[token_id] = True
        self.answer[token_id] += 1


class Sampler:
    """The choices of one sequence: its rules, its dice, what it has so far.

    Args:
        params: The request's rules.
        prompt: Tokens before the answer.
        seed: Of its dice; None: of chance.
        index: Which of the request's sequences it is: each has dice of its own.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt: Sequence[int],
        seed: int | None,
        index: int,
    ) -> None:
        self.params = params
        self.generated = 0
        self._prompt = prompt
        self._random = random.Random(None if seed is None else f"{seed} {index}")  # noqa: S311 - no secret
        self._counts: TokenCounts | None = None
        self._bias: tuple[Tensor, Tensor] | None = None

    def draw(self) -> float:
        """Return a number from 0 to below 1."""
        return self._random.random()

    def counts(self, vocabulary: int, device: Any) -> TokenCounts:
        """Return what the sequence has, for scores of so many tokens."""
        if self._counts is None:
            self._counts = TokenCounts(self._prompt, vocabulary, device)
        return self._counts

    def bias(self, device: Any) -> tuple[Tensor, Tensor]:
        """Return the tokens of the logit bias, and what is added to each."""
        if self._bias is None:
            bias = self.params.logit_bias
            # Once: there may be one for each token of the vocabulary.
            self._bias = (
                on_device(list(bias), device),
                on_device(list(bias.values()), device),
            )
        return self._bias

    def take(self, token_id: int) -> None:
        """Note the token that was chosen."""
        self.generated += 1
        if self._counts is not None:
            self._counts.add(token_id)


@dataclass(frozen=True, slots=True)
class Choice:
    """The token of one row; None if its scores are no numbers."""

    token_id: int | None
    logprob: TokenLogprob | None = None


def choose(scores: Tensor, samplers: Sequence[Sampler]) -> list[Choice]:
    """Choose a token for each row.

    Args:
        scores: The model's, a row for each sampler.
        samplers: Who chooses; told of the choice.
    """
    scores = scores.to(torch.float32)
    recorded: Tensor | None = None
    if not all(sampler.params.plain for sampler in samplers):
        scores = scores.clone()
        _penalise_repetition(scores, samplers)
        _forbid_ends(scores, samplers)
        recorded = _logprobs(scores, samplers)
        _penalise_presence(scores, samplers)
        _add_bias(scores, samplers)
    best = scores.argmax(dim=-1)
    greatest = scores.gather(1, best[:, None])[:, 0]
    sampled = _rows(samplers, lambda params: params.temperature > 0)
    if sampled:
        rows = on_device(sampled, scores.device)
        best[rows] = _draw(scores[rows], [samplers[row] for row in sampled], best[rows])
    # One copy for both: it waits for the device, as little else in a step does.
    tokens, numbers = torch.stack((best.double(), greatest.double())).tolist()
    logprobs = {} if recorded is None else _told(recorded, best, samplers)
    choices = []
    for row, (token, score) in enumerate(zip(tokens, numbers, strict=True)):
        token_id = int(token)
        if not math.isfinite(score):
            choices.append(Choice(None))
            continue
        samplers[row].take(token_id)
        choices.append(Choice(token_id, logprobs.get(row)))
    return choices


def token_logprob(logprobs: Tensor, token_id: int, top: int) -> TokenLogprob:
    """Return what a row of log-probabilities gives a token and the likeliest."""
    likeliest = torch.topk(logprobs, top)
    pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return TokenLogprob(token_id, float(logprobs[token_id]), tuple(pairs))


def _rows(
    samplers: Sequence[Sampler], wanted: Callable[[SamplingParams], bool]
) -> list[int]:
    return [row for row, sampler in enumerate(samplers) if wanted(sampler.params)]


def _column(values: Sequence[float], device: Any) -> Tensor:
    return on_device(values, device, torch.float32)[:, None]


def _penalise_repetition(scores: Tensor, samplers: Sequence[Sampler]) -> None:
    rows = _rows(samplers, lambda params: params.repetition_penalty != 1)
    if not rows:
        return
    some = [samplers[row] for row in rows]
    device, vocabulary = scores.device, scores.shape[1]
    seen = torch.stack([one.counts(vocabulary, device).seen for one in some])
    penalty = _column([one.params.repetition_penalty for one in some], device)
    at = on_device(rows, device)
    found = scores[at]
    punished = torch.where(found < 0, found * penalty, found / penalty)
    scores[at] = torch.where(seen, punished, found)


def _forbid_ends(scores: Tensor, samplers: Sequence[Sampler]) -> None:
    for row, sampler in enumerate(samplers):
        params = sampler.params
        if params.end_tokens and sampler.generated < params.min_new_tokens:
            ends = on_device(list(params.end_tokens), scores.device)
            scores[row, ends] = -math.inf


def _recording(samplers: Sequence[Sampler]) -> list[int]:
    return _rows(samplers, lambda params: params.top_logprobs is not None)


def _logprobs(scores: Tensor, samplers: Sequence[Sampler]) -> Tensor | None:
    """Return the log-probabilities of the rows that tell them."""
    rows = _recording(samplers)
    if not rows:
        return None
    return torch.log_softmax(scores[on_device(rows, scores.device)], dim=-1)


def _told(
    logprobs: Tensor, chosen: Tensor, samplers: Sequence[Sampler]
) -> dict[int, TokenLogprob]:
    """Return what each row tells of its token, with two copies from the device."""
    rows = _recording(samplers)
    tops = [samplers[row].params.top_logprobs or 0 for row in rows]
    tokens = chosen[on_device(rows, chosen.device)][:, None]
    likeliest = torch.topk(logprobs, max(tops))
    ids = torch.cat((tokens, likeliest.indices), dim=1).tolist()
    values = torch.cat((logprobs.gather(1, tokens), likeliest.values), dim=1).tolist()
    return {
        row: TokenLogprob(
            id_[0], value[0], tuple(zip(id_[1:], value[1:], strict=True))[:top]
        )
        for row, top, id_, value in zip(rows, tops, ids, values, strict=True)
    }


def _penalise_presence(scores: Tensor, samplers: Sequence[Sampler]) -> None:
    rows = _rows(
        samplers,
        lambda params: bool(params.presence_penalty or params.frequency_penalty),
    )
    if not rows:
        return
    some = [samplers[row] for row in rows]
    device, vocabulary = scores.device, scores.shape[1]
    counts = torch.stack([one.counts(vocabulary, device).answer for one in some])
    frequency = _column([one.params.frequency_penalty for one in some], device)
    presence = _column([one.params.presence_penalty for one in some], device)
    change = -frequency * counts - presence * (counts > 0)
    scores[on_device(rows, device)] += change


def _add_bias(scores: Tensor, samplers: Sequence[Sampler]) -> None:
    for row, sampler in enumerate(samplers):
        if sampler.params.logit_bias:
            tokens, change = sampler.bias(scores.device)
            scores[row, tokens] += change


def _draw(scores: Tensor, samplers: Sequence[Sampler], best: Tensor) -> Tensor:
    """Draw a token for each row; rows without numbers get any."""
    device = scores.device
    params = [sampler.params for sampler in samplers]
    scores = scores / _column([one.temperature for one in params], device)
    scores = _keep_top_k(scores, [one.top_k for one in params])
    scores = _keep_top_p(scores, [one.top_p for one in params])
    scores = _keep_min_p(scores, [one.min_p for one in params])
    # In double precision: single does not tell the last of many tokens apart.
    edges = torch.softmax(scores, dim=-1).to(torch.float64).cumsum(dim=-1)
    numbers = [[sampler.draw()] for sampler in samplers]
    dice = on_device(numbers, device, torch.float64)
    drawn = torch.searchsorted(edges, dice * edges[:, -1:], right=True)[:, 0]
    return torch.where(drawn < scores.shape[1], drawn, best)


def _keep_top_k(scores: Tensor, top_k: Sequence[int]) -> Tensor:
    vocabulary = scores.shape[1]
    counts = [min(k, vocabulary) if k > 0 else vocabulary for k in top_k]
    most = max((k for k in counts if k < vocabulary), default=0)
    if not most:
        return scores
    likeliest = torch.topk(scores, most).values
    at = on_device([min(k, most) - 1 for k in counts], scores.device)
    least = likeliest.gather(1, at[:, None])
    off = on_device([k == vocabulary for k in counts], scores.device)
    return scores.masked_fill((scores < least) & ~off[:, None], -math.inf)


def _keep_top_p(scores: Tensor, top_p: Sequence[float]) -> Tensor:
    rows = [row for row, share in enumerate(top_p) if share < 1]
    if not rows:
        return scores
    at = on_device(rows, scores.device)
    ordered, indices = torch.sort(scores[at], descending=False)
    share = _column([top_p[row] for row in rows], scores.device)
    dropped = ordered.softmax(dim=-1).cumsum(dim=-1) <= (1 - share)
    dropped[:, -1] = False
    scores = scores.clone()
    scores[at] = scores[at].masked_fill(dropped.scatter(1, indices, dropped), -math.inf)
    return scores


def _keep_min_p(scores: Tensor, min_p: Sequence[float]) -> Tensor:
    if not any(min_p):
        return scores
    probabilities = torch.softmax(scores, dim=-1)
    least = probabilities.amax(dim=-1, keepdim=True) * _column(min_p, scores.device)
    return scores.masked_fill(probabilities < least, -math.inf)
