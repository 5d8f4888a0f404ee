"""Models whose positions depend on how long a sequence is.

Rotary positions of some models change when a sequence grows beyond the context
that they were first trained for. They change for all that is read at once, so
that sequences on both sides of that length cannot be read together.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def switching_length(config: Any) -> int | None:
    """Return the length beyond which positions are others (LongRoPE), or None.

    Keys that were computed before do not fit those computed after.
    """
    for rope in _ropes(config):
        if rope.get("rope_type") == "longrope":
            return _original(rope, config)
    return None


def longest_steady(config: Any) -> int | None:
    """Return the length beyond which positions change with each token, or None."""
    for rope in _ropes(config):
        if "dynamic" in str(rope.get("rope_type")):
            return _original(rope, config)
    return None


def _ropes(config: Any) -> Iterator[Mapping[str, Any]]:
    """Give the model's rules for rotary positions: one, or one a kind of layer."""
    found = getattr(config, "rope_parameters", None) or {}
    yield found
    yield from (one for one in found.values() if isinstance(one, dict))


def _original(rope: Mapping[str, Any], config: Any) -> int:
    original = rope.get("original_max_position_embeddings")
    return int(original or config.max_position_embeddings)
