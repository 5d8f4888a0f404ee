"""Attention over sequences of any length that are one input, end to end.

The tokens of a step, one of each sequence that generates and many of one whose
prompt is read, are a single row for the model: no layer but attention cares
which sequence a token is of. transformers lets a function of ours stand for
attention (`ATTENTION`), and `CURRENT` tells it whose tokens these are.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.models.falcon.modeling_falcon import (
    FalconAttention,
    apply_rotary_pos_emb,
)

from pykaito.runtime.hf.kv_cache import KVCache, Row
from pykaito.runtime.hf.transfer import on_device

Tensor = Any  # torch publishes no types that strict mode can read

#: What transformers knows our function by.
ATTENTION = "pykaito_ragged"


class UnsupportedModelError(Exception):
    """A model's attention is more than `attend` does; the message says what."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a layer attends, beside that no token sees those after it."""

    #: What products are multiplied by; None: one over the root of the width.
    scale: float | None = None
    #: How many tokens back each one sees, itself included; None: all.
    window: int | None = None
    #: Products are bent to stay between this and its negative.
    softcap: float | None = None
    #: For each head, a product with nothing that takes its share of attention.
    sinks: Tensor | None = None

    @property
    def plain(self) -> bool:
        """Whether products are what attention goes by."""
        return self.softcap is None and self.sinks is None


class Attend(Protocol):
    """What answers an attention layer while a model runs."""

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, rules: Rules
    ) -> Tensor:
        """Return the attention's output for each token.

        Args:
            layer: The layer's index.
            queries: By token, head and width.
            keys: The same, of fewer heads where several share one.
            values: As the keys.
            rules: The layer's.
        """
        ...


CURRENT: ContextVar[Attend] = ContextVar("ragged attention")


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one sequence in a step: where its row is, which are new."""

    row: Row
    #: Tokens of the sequence before these.
    start: int
    count: int

    @property
    def end(self) -> int:
        """Tokens of the sequence up to and with these."""
        return self.start + self.count


@dataclass(slots=True)
class _SlabQuery:
    """One token each of a slab's rows: a single call attends for all."""

    first_slot: int
    width: int
    rows: int
    #: Of the longest row.
    longest: int
    #: The token of each row: a slice if they are in order.
    tokens: Any
    #: Rows whose answer is wanted; None: all.
    wanted: Tensor | None
    lengths: Tensor
    masks: dict[int | None, Tensor] = field(default_factory=dict)

    def mask(self, window: int | None, dtype: Any) -> Tensor:
        """Return what is added to products: nothing, or -inf where not to look."""
        if window not in self.masks:
            at = torch.arange(self.longest, device=self.lengths.device)
            lengths = self.lengths[:, None]
            seen = at < lengths
            if window is not None:
                seen &= at >= lengths - window
            mask = torch.zeros(seen.shape, dtype=dtype, device=at.device)
            mask.masked_fill_(~seen, float("-inf"))
            self.masks[window] = mask[:, None, None]
        return self.masks[window]


class RaggedBatch:
    """The tokens of one step on one device, span after span.

    Args:
        cache: Where their keys and values go, and those before them are.
        spans: Whose they are; spans of one token first, by slab and row.
        device: Where the layer is that asks.
    """

    def __init__(self, cache: KVCache, spans: Sequence[Span], device: Any) -> None:
        self._cache = cache
        offsets: list[int] = []
        slots: list[int] = []
        for span in spans:
            offsets.append(len(slots))
            first = span.row.start + span.start
            slots += range(first, first + span.count)
        self._slots = on_device(slots, device)
        self._queries = _slab_queries(spans, offsets, device)
        self._prompts = [
            (offset, span)
            for offset, span in zip(offsets, spans, strict=True)
            if span.count > 1
        ]

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, rules: Rules
    ) -> Tensor:
        """Write keys and values to the cache and attend; see `Attend.attend`."""
        cached_keys, cached_values = self._cache.keys[layer], self._cache.values[layer]
        cached_keys.index_copy_(0, self._slots, keys)
        cached_values.index_copy_(0, self._slots, values)
        found = queries.new_empty((*queries.shape[:2], values.shape[-1]))
        for query in self._queries:
            _attend_slab(query, queries, cached_keys, cached_values, found, rules)
        for offset, span in self._prompts:
            new = slice(offset, offset + span.count)
            seen = slice(span.row.start, span.row.start + span.end)
            found[new] = attend_causally(
                queries[new],
                keys[new] if span.start == 0 else cached_keys[seen],
                values[new] if span.start == 0 else cached_values[seen],
                rules,
            )
        return found


def _slab_queries(
    spans: Sequence[Span], offsets: Sequence[int], device: Any
) -> list[_SlabQuery]:
    """Return the calls that attend for spans of one token."""
    slabs = dict.fromkeys(span.row.slab for span in spans if span.count == 1)
    here = {
        span.row: (offset + span.count - 1, span)
        for offset, span in zip(offsets, spans, strict=True)
    }
    queries = []
    for slab in slabs:
        # Rows that are not in this step get an answer too, which nobody reads.
        tokens = [here[row][0] if row in here else 0 for row in slab.rows]
        lengths = [here[row][1].end if row in here else 1 for row in slab.rows]
        wanted = [
            index
            for index, row in enumerate(slab.rows)
            if row in here and here[row][1].count == 1
        ]
        in_order = tokens == list(range(tokens[0], tokens[0] + len(tokens)))
        if in_order and len(wanted) == len(tokens):
            selected: Any = slice(tokens[0], tokens[0] + len(tokens))
        else:
            selected = on_device(tokens, device)
        queries.append(
            _SlabQuery(
                first_slot=slab.start,
                width=slab.width,
                rows=len(tokens),
                longest=max(lengths),
                tokens=selected,
                wanted=(
                    None if isinstance(selected, slice) else on_device(wanted, device)
                ),
                lengths=on_device(lengths, device),
            )
        )
    return queries


def _attend_slab(
    query: _SlabQuery,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    found: Tensor,
    rules: Rules,
) -> None:
    slots = slice(query.first_slot, query.first_slot + query.rows * query.width)
    by_row = (query.rows, query.width)
    row_keys = keys[slots].unflatten(0, by_row)[:, : query.longest].transpose(1, 2)
    row_values = values[slots].unflatten(0, by_row)[:, : query.longest].transpose(1, 2)
    # Heads that share keys are several queries of one head: nothing is repeated.
    by_head = (keys.shape[1], -1)
    answers = _attend(
        queries[query.tokens].unflatten(1, by_head),
        row_keys,
        row_values,
        query.mask(rules.window, queries.dtype),
        rules,
        None if rules.sinks is None else rules.sinks.unflatten(0, by_head),
    ).flatten(1, 2)
    if query.wanted is None:
        found[query.tokens] = answers
    else:
        found[query.tokens[query.wanted]] = answers[query.wanted]


def attend_causally(
    queries: Tensor, keys: Tensor, values: Tensor, rules: Rules
) -> Tensor:
    """Attend for the last tokens of one sequence, whose keys are all there."""
    new, total = queries.shape[0], keys.shape[0]
    shared = queries.shape[1] // keys.shape[1]
    mask = None
    bounded = rules.window is not None and rules.window < total
    if new < total or bounded or not rules.plain:
        at = torch.arange(total, device=queries.device)
        of = at[total - new :, None]
        seen = at <= of
        if rules.window is not None:
            seen &= at > of - rules.window
        mask = torch.zeros(seen.shape, dtype=queries.dtype, device=seen.device)
        mask.masked_fill_(~seen, float("-inf"))
    answers = _attend(
        queries.transpose(0, 1)[None],
        keys.repeat_interleave(shared, dim=1).transpose(0, 1)[None],
        values.repeat_interleave(shared, dim=1).transpose(0, 1)[None],
        mask,
        rules,
        None if rules.sinks is None else rules.sinks[:, None],
    )
    return answers[0].transpose(0, 1)


def _attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    rules: Rules,
    sinks: Tensor | None,
) -> Tensor:
    """Attend, by row, head, token and width; causally if there is no mask."""
    if rules.plain:
        return scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            is_causal=mask is None,
            scale=rules.scale,
        )
    scale = rules.scale or queries.shape[-1] ** -0.5
    products = (queries @ keys.transpose(-1, -2)).float() * scale
    if rules.softcap is not None:
        products = torch.tanh(products / rules.softcap) * rules.softcap
    products = products + mask
    if sinks is not None:
        nothing = sinks[..., None].expand(*products.shape[:-1], 1)
        products = torch.cat([products, nothing.to(products.dtype)], dim=-1)
    shares = products.softmax(dim=-1)[..., : keys.shape[-2]]
    return shares.to(values.dtype) @ values


#: Arguments that change nothing here: there is no training, positions are in the
#: queries and keys already, and the mask is the batch's.
HARMLESS = {
    "dropout",
    "position_ids",
    "use_cache",
    "output_attentions",
    "cache_position",
}


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers asks for it: by batch, head, token and width."""
    unknown = [
        name
        for name, value in others.items()
        if value is not None and value is not False and name not in HARMLESS
        if not (name == "is_causal" and value is True)
    ]
    if unknown or attention_mask is not None:
        what = ", ".join(unknown) or "a mask of its own"
        raise UnsupportedModelError(f"its attention takes {what}")
    if not getattr(module, "is_causal", True):
        raise UnsupportedModelError("its attention is not causal")
    answers = CURRENT.get().attend(
        module.layer_idx,
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        Rules(scaling, sliding_window, softcap, s_aux),
    )
    return answers[None], None


AttentionInterface.register(ATTENTION, _attention)


def adapt_falcon(model: Any) -> None:
    """Let Falcon's layers, which ask for no function, ask for ours."""
    for module in model.modules():
        if isinstance(module, FalconAttention):
            module.forward = _FalconForward(module)


class _FalconForward:
    """Falcon's attention while `CURRENT` is set; else as it was."""

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self._original = attention.forward

    def __call__(self, hidden_states: Tensor, *args: Any, **options: Any) -> Any:
        attention = self._attention
        if attention.config._attn_implementation != ATTENTION:  # noqa: SLF001 - as transformers' own layers do
            return self._original(hidden_states, *args, **options)
        if attention.config.alibi:
            raise UnsupportedModelError("its attention has ALiBi biases")
        heads, width = attention.num_heads, attention.head_dim
        groups = attention.num_kv_heads
        fused = attention.query_key_value(hidden_states[0])
        # In each group the queries, then their one key and value.
        fused = fused.unflatten(-1, (groups, heads // groups + 2, width))
        query = fused[:, :, :-2].flatten(1, 2).transpose(0, 1)[None]
        key = fused[:, :, -2].transpose(0, 1)[None]
        cos, sin = options["position_embeddings"]
        query, key = apply_rotary_pos_emb(query, key, cos, sin)
        answers = CURRENT.get().attend(
            attention.layer_idx,
            query[0].transpose(0, 1),
            key[0].transpose(0, 1),
            fused[:, :, -1],
            Rules(),
        )
        return attention.dense(answers.flatten(1))[None], None
