"""How a model mixes layers that attend to everything with others: pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

#: Names that configs give to layers that attend to the newest tokens.
_SLIDING = frozenset({"sliding_attention", "chunked_attention", "local_attention"})
#: … and to those that keep no token: they have a state of constant size, or none.
_NONE = frozenset(
    {"linear_attention", "mamba", "mamba2", "recurrent", "conv", "mlp", "moe"}
    | {"M", "E", "-"}
)
#: Models whose layers slide and attend to everything in turn.
_EVERY_OTHER = frozenset({"gemma2", "gemma2_text"})
#: Models whose layers all slide, if they name a window.
_ALL = frozenset({"mistral"})


class Mix(NamedTuple):
    """Layers of a model; what is neither full nor sliding keeps no cache."""

    layers: int
    full_layers: int
    sliding_layers: int
    window: int


def count_layers(config: Mapping[str, Any], layers: int) -> Mix | None:
    """Return how many layers attend to what, None where all attend to everything.

    What is not understood counts as attending to everything, which takes most.
    """
    window = _whole(config, "sliding_window") or _whole(config, "attention_chunk_size")
    full, sliding = _count(config, layers)
    if not window:
        full, sliding = full + sliding, 0
    if full >= layers:
        return None
    return Mix(layers, full, sliding, window if sliding else 0)


def _count(config: Mapping[str, Any], layers: int) -> tuple[int, int]:
    """Return the layers that attend to everything, and those that slide."""
    if (named := _named(config, layers)) is not None:
        return named
    if period := _whole(config, "full_attention_interval"):
        return layers // period, 0
    if period := _whole(config, "attn_layer_period"):
        first = _whole(config, "attn_layer_offset")
        return len(range(first, layers, period)), 0
    if period := _whole(config, "sliding_window_pattern"):
        return layers // period, layers - layers // period
    if config.get("use_sliding_window") is False:
        return layers, 0
    model_type = str(config.get("model_type"))
    if model_type in _EVERY_OTHER:
        return layers // 2, layers - layers // 2
    if model_type in _ALL:
        return 0, layers
    return layers, 0


def _named(config: Mapping[str, Any], layers: int) -> tuple[int, int] | None:
    """Count layers where a config names the kind of each."""
    for key in ("layer_types", "layers_block_type", "hybrid_override_pattern"):
        kinds = config.get(key)
        if isinstance(kinds, Sequence) and len(kinds) >= layers:
            chosen = [str(kind) for kind in kinds[:layers]]
            sliding = sum(kind in _SLIDING for kind in chosen)
            return layers - sliding - sum(kind in _NONE for kind in chosen), sliding
    return None


def _whole(config: Mapping[str, Any], key: str) -> int:
    found = config.get(key)
    if isinstance(found, int) and not isinstance(found, bool) and found > 0:
        return found
    return 0
