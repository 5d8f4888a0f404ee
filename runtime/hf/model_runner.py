"""A model that reads any tokens of any sequences in one pass."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from pykaito.runtime.hf.kv_cache import KVCache, LayerShape
from pykaito.runtime.hf.ragged_attention import (
    ATTENTION,
    CURRENT,
    Attend,
    RaggedBatch,
    Span,
    UnsupportedModelError,
    adapt_falcon,
    attend_causally,
)

Tensor = Any  # torch publishes no types that strict mode can read

#: Kinds of layers whose attention is ours.
LAYERS = {"full_attention", "sliding_attention"}
#: Kinds of positions that change with the longest sequence of a batch.
MOVING_POSITIONS = {"dynamic", "longrope"}
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
    try:
        _forward(model, learn, prompt, prompt[0])
    except UnsupportedModelError:
        raise
    except Exception as error:  # the model's code was not made for it
        raise UnsupportedModelError(f"it fails on a ragged batch: {error}") from error
    count = len(learn.shapes)
    if sorted(learn.shapes) != list(range(count)):
        raise UnsupportedModelError("not all of its layers attend")
    return [learn.shapes[layer] for layer in range(count)]


def _check_config(config: Any) -> None:
    kinds = set(getattr(config, "layer_types", None) or ()) - LAYERS
    if kinds:
        raise UnsupportedModelError(f"it has layers of {', '.join(sorted(kinds))}")
    if getattr(config, "attention_chunk_size", None):
        raise UnsupportedModelError("its attention is in chunks")


def longest_in_batch(config: Any) -> int | None:
    """Return how long sequences may be that share a batch; None: any length.

    Beyond its original context a model with LongRoPE has other positions, for
    all sequences that it reads at once.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") not in MOVING_POSITIONS:
        return None
    original = rope.get("original_max_position_embeddings")
    return int(original or config.max_position_embeddings)


class _Learn:
    """Attends within one sequence, and notes what each layer keeps."""

    def __init__(self) -> None:
        self.shapes: dict[int, LayerShape] = {}

    def attend(
        self,
        layer: int,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        *,
        scale: float | None,
        window: int | None,
    ) -> Tensor:
        """See `Attend.attend`."""
        self.shapes[layer] = LayerShape(
            heads=keys.shape[1],
            key_width=keys.shape[2],
            value_width=values.shape[2],
            dtype=keys.dtype,
            device=keys.device,
        )
        return attend_causally(queries, keys, values, scale=scale, window=window)


class ModelRunner:
    """Runs a model over spans of sequences.

    Args:
        model: One whose layers `layer_shapes` has found.
        cache: Where their keys and values are.
    """

    def __init__(self, model: Any, cache: KVCache) -> None:
        self._model = model
        self.cache = cache
        parameters = inspect.signature(model.forward).parameters
        self._chooses = "logits_to_keep" in parameters

    def check(self) -> None:
        """See whether two sequences side by side have the scores of each alone.

        Raises:
            UnsupportedModelError: if not.
        """
        ends: list[tuple[list[int], Tensor]] = []
        rows = [self.cache.take(8) for _ in range(2)]
        # The whole beginning, then a token or a few more, then a token each.
        for cuts in [(0, 4), (0, 2)], [(4, 5), (2, 5)], [(5, 6), (5, 6)]:
            parts = []
            for index, (start, end) in enumerate(cuts):
                row = rows[index]
                assert row is not None  # noqa: S101 - the cache is empty
                tokens = _EXAMPLES[index][start:end]
                parts.append((Span(row, start, end - start), tokens, True))
            scores, order = self.forward(parts)
        for row, index in zip(scores, order, strict=True):
            ends.append((_EXAMPLES[index], row))
        for row in rows:
            if row is not None:
                self.cache.release(row)
        for tokens, found in ends:
            alone = torch.tensor([tokens], device=self._model.device)
            with torch.inference_mode():
                expected = self._model(alone, use_cache=False).logits[0, -1]
            tolerance = TOLERANCE.get(found.dtype, ROUGH_TOLERANCE)
            error = (found.float() - expected.float()).norm()
            if not error <= tolerance * expected.float().norm():
                raise UnsupportedModelError("its scores are others in a ragged batch")

    def forward(
        self, spans: Sequence[tuple[Span, Sequence[int], bool]]
    ) -> tuple[Tensor, list[int]]:
        """Read tokens; keys and values go to the spans' rows.

        Args:
            spans: Each with its tokens, and whether scores are wanted for what
                comes after them.

        Returns:
            A row of scores for each span that wants them, and those spans' indices.
        """
        order = sorted(range(len(spans)), key=lambda index: _place(spans[index][0]))
        tokens: list[int] = []
        positions: list[int] = []
        last: list[int] = []
        asking: list[int] = []
        for index in order:
            span, new, wants = spans[index]
            tokens += new
            positions += range(span.start, span.end)
            if wants:
                asking.append(index)
                last.append(len(tokens) - 1)
        device = self._model.device
        batch = _OnEachDevice(self.cache, [spans[index][0] for index in order])
        options, keep = {}, None
        if len(last) < len(tokens):
            keep = torch.tensor(last, dtype=torch.long, device=device)
            if self._chooses:
                options["logits_to_keep"] = keep
        scores = _forward(
            self._model,
            batch,
            torch.tensor([tokens], device=device),
            torch.tensor(positions, device=device),
            **options,
        )
        if keep is not None and not self._chooses:
            scores = scores[keep]
        for span, _, _ in spans:
            span.row.length = span.end
        return scores, asking


def _place(span: Span) -> tuple[bool, int]:
    return span.count > 1, span.row.start


class _OnEachDevice:
    """A batch for layers that are on several devices."""

    def __init__(self, cache: KVCache, spans: Sequence[Span]) -> None:
        self._cache = cache
        self._spans = spans
        self._batches: dict[Any, RaggedBatch] = {}

    def attend(self, layer: int, queries: Tensor, *others: Any, **options: Any) -> Any:
        device = queries.device
        if device not in self._batches:
            self._batches[device] = RaggedBatch(self._cache, self._spans, device)
        return self._batches[device].attend(layer, queries, *others, **options)


def _forward(
    model: Any, batch: Attend, tokens: Tensor, positions: Tensor, **options: Any
) -> Tensor:
    """Return the scores after the tokens."""
    with torch.inference_mode(), _attending(model, batch):
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
