"""A model that reads any tokens of any sequences in one pass."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from pykaito.runtime.hf.adapter_choice import Choice, Chosen, choosing
from pykaito.runtime.hf.kv_cache import KVCache, LayerShape
from pykaito.runtime.hf.moving_positions import switching_length
from pykaito.runtime.hf.ragged_attention import (
    ATTENTION,
    CURRENT,
    Attend,
    RaggedBatch,
    Rules,
    Span,
    UnsupportedModelError,
    adapt_falcon,
    attend_causally,
)
from pykaito.runtime.hf.transfer import on_device

Tensor = Any  # torch publishes no types that strict mode can read

#: Kinds of layers whose attention is ours.
LAYERS = {"full_attention", "sliding_attention"}
#: How far scores may be from the model's own, as a share of these: rounding.
TOLERANCE = {torch.float32: 1e-3}
ROUGH_TOLERANCE = 0.1
#: Tokens that every vocabulary has.
_EXAMPLES = ([5, 3, 8, 1, 7, 2], [9, 4, 6, 0, 2, 1])


def bytes_per_token(layers: Sequence[LayerShape]) -> int:
    """Return the memory that a token takes in a cache of these layers."""
    return sum(layer.bytes_per_token for layer in layers)


def layer_shapes(model: Any) -> list[LayerShape]:
    """Return what each layer of a model keeps for a token.

    Raises:
        UnsupportedModelError: if the model cannot run ragged batches.
    """
    _check_config(model.config.get_text_config())
    adapt_falcon(model)
    learn = _Learn()
    prompt = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    with _trying():
        _forward(model, learn, prompt, prompt[0])
    count = len(learn.shapes)
    if not count or sorted(learn.shapes) != list(range(count)):
        raise UnsupportedModelError("its layers do not ask for attention as others do")
    return [learn.shapes[layer] for layer in range(count)]


@contextmanager
def _trying() -> Iterator[None]:
    """Tell what fails in the block: the model's code was not made for it."""
    try:
        yield
    except UnsupportedModelError:
        raise
    except Exception as error:
        raise UnsupportedModelError(f"it fails on a ragged batch: {error}") from error


def _check_config(config: Any) -> None:
    kinds = set(getattr(config, "layer_types", None) or ()) - LAYERS
    if kinds:
        raise UnsupportedModelError(f"it has layers of {', '.join(sorted(kinds))}")
    if getattr(config, "attention_chunk_size", None):
        raise UnsupportedModelError("its attention is in chunks")


class _Learn:
    """Attends within one sequence, and notes what each layer keeps."""

    def __init__(self) -> None:
        self.shapes: dict[int, LayerShape] = {}

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, rules: Rules
    ) -> Tensor:
        """See `Attend.attend`."""
        self.shapes[layer] = LayerShape(
            heads=keys.shape[1],
            key_width=keys.shape[2],
            value_width=values.shape[2],
            dtype=keys.dtype,
            device=keys.device,
        )
        return attend_causally(queries, keys, values, rules)


@dataclass(frozen=True, slots=True)
class Part:
    """What a step reads of one sequence."""

    span: Span
    #: The tokens of the span.
    tokens: Sequence[int]
    #: Whether scores are wanted for what comes after them.
    asks: bool = True
    choice: Choice = None


class ModelRunner:
    """Runs a model over parts of sequences.

    Args:
        model: One whose layers `layer_shapes` has found.
        cache: Where their keys and values are.
    """

    def __init__(self, model: Any, cache: KVCache) -> None:
        self._model = model
        self.cache = cache
        parameters = inspect.signature(model.forward).parameters
        self._chooses = "logits_to_keep" in parameters
        self._spread = len({one.device for one in model.parameters()}) > 1
        #: See `switching_length`.
        self.switch = switching_length(model.config.get_text_config())

    def check(self) -> None:
        """See whether two sequences side by side have the scores of each alone.

        Raises:
            UnsupportedModelError: if not.
        """
        taken = [self.cache.take(len(tokens)) for tokens in _EXAMPLES]
        rows = [row for row in taken if row is not None]
        # The whole beginning, then a token or a few more, then a token each.
        for cuts in [(0, 4), (0, 2)], [(4, 5), (2, 5)], [(5, 6), (5, 6)]:
            parts = [
                Part(Span(row, start, end - start), tokens[start:end])
                for row, tokens, (start, end) in zip(rows, _EXAMPLES, cuts, strict=True)
            ]
            with _trying():
                scores, order = self.forward(parts)
        for row in rows:
            self.cache.release(row)
        for index, found in zip(order, scores, strict=True):
            alone = torch.tensor([_EXAMPLES[index]], device=self._model.device)
            with torch.inference_mode():
                expected = self._model(alone, use_cache=False).logits[0, -1]
            tolerance = TOLERANCE.get(found.dtype, ROUGH_TOLERANCE)
            error = (found.float() - expected.float()).norm()
            if not error <= tolerance * expected.float().norm():
                raise UnsupportedModelError("its scores are others in a ragged batch")

    def forward(self, parts: Sequence[Part]) -> tuple[Tensor, list[int]]:
        """Read tokens; keys and values go to the spans' rows.

        Returns:
            A row of scores for each part that asks, and those parts' indices.
        """
        order = sorted(range(len(parts)), key=lambda index: _place(parts[index].span))
        far = [index for index in order if self._is_far(parts[index].span)]
        near = [index for index in order if index not in far] if far else order
        scores = [
            self._read([parts[index] for index in some]) for some in (near, far) if some
        ]
        asking = [index for index in (*near, *far) if parts[index].asks]
        return torch.cat(scores) if len(scores) > 1 else scores[0], asking

    def _is_far(self, span: Span) -> bool:
        return self.switch is not None and span.end > self.switch

    def _read(self, parts: Sequence[Part]) -> Tensor:
        tokens: list[int] = []
        positions: list[int] = []
        last: list[int] = []
        choices: list[Choice] = []
        for part in parts:
            tokens += part.tokens
            choices += [part.choice] * part.span.count
            positions += range(part.span.start, part.span.end)
            if part.asks:
                last.append(len(tokens) - 1)
        device = self._model.device
        batch = _OnEachDevice(self.cache, [part.span for part in parts])
        options, keep = {}, None
        if len(last) < len(tokens):
            keep = on_device(last, device, torch.long)
            if self._chooses:
                # Of a model on several devices, accelerate brings all tensors it is
                # given to the first, and tensors of another cannot be looked up there.
                options["logits_to_keep"] = last if self._spread else keep
        scores = _forward(
            self._model,
            batch,
            on_device([tokens], device),
            on_device(positions, device),
            chosen=Chosen.of(choices, kept=last),
            **options,
        )
        if keep is not None and not self._chooses:
            scores = scores[keep]
        for part in parts:
            part.span.row.length = part.span.end
        return scores


def _place(span: Span) -> tuple[bool, int]:
    return span.count > 1, span.row.start


class _OnEachDevice:
    """A batch for layers that are on several devices."""

    def __init__(self, cache: KVCache, spans: Sequence[Span]) -> None:
        self._cache = cache
        self._spans = spans
        self._batches: dict[Any, RaggedBatch] = {}

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, rules: Rules
    ) -> Tensor:
        """See `Attend.attend`."""
        device = queries.device
        if device not in self._batches:
            self._batches[device] = RaggedBatch(self._cache, self._spans, device)
        return self._batches[device].attend(layer, queries, keys, values, rules)


def _forward(
    model: Any,
    batch: Attend,
    tokens: Tensor,
    positions: Tensor,
    *,
    chosen: Chosen | None = None,
    **options: Any,
) -> Tensor:
    """Return the scores after the tokens."""
    with torch.inference_mode(), _attending(model, batch), choosing(chosen):
        return model(
            input_ids=tokens, position_ids=positions[None], use_cache=False, **options
        ).logits[0]


@contextmanager
def _attending(model: Any, batch: Attend) -> Iterator[None]:
    """Have the model's attention answered by a batch, while the block runs."""
    config = model.config
    before = config._attn_implementation  # noqa: SLF001 - transformers has no other name for it
    config._attn_implementation = ATTENTION  # noqa: SLF001
    token = CURRENT.set(batch)
    try:
        yield
    finally:
        CURRENT.reset(token)
        config._attn_implementation = before  # noqa: SLF001
