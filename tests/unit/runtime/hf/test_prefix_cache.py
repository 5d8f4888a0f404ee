from itertools import permutations
from typing import Any

import pytest
import torch

from pykaito.runtime.hf.kv_cache import UNIT, KVCache, LayerShape
from pykaito.runtime.hf.prefix_cache import LEAST, PrefixCache

LAYER = LayerShape(
    heads=1,
    key_width=1,
    value_width=1,
    dtype=torch.float32,
    device=torch.device("cpu"),
)
LENGTH = 60
NEW = list(range(LENGTH))


def with_in_common(tokens: int) -> list[int]:
    """Return a sequence that begins as the new one does, so far."""
    return NEW[:tokens] + [-1] * (LENGTH - tokens)


@pytest.mark.parametrize("in_common", list(permutations([0, LEAST, 30, 59])))
@pytest.mark.parametrize("kept", [0, 2])
def test_the_longest_beginning_in_common_is_copied(
    in_common: tuple[int, ...], kept: int
) -> None:
    cache = KVCache([LAYER], 2 * UNIT)
    prefixes = PrefixCache(cache)
    running = []
    for number, tokens in enumerate(in_common):
        sequence = with_in_common(tokens)
        row: Any = cache.take(LENGTH)
        row.length = LENGTH
        cache.keys[0][row.start : row.start + LENGTH] = tokens
        if number < kept:
            prefixes.keep(sequence, None, row)
        else:
            running.append((sequence, row))
    mine: Any = cache.take(LENGTH)
    assert prefixes.reuse(NEW, None, mine, running) == 59
    assert (cache.keys[0][mine.start : mine.start + 59] == 59).all()


def test_too_little_in_common_is_not_copied() -> None:
    cache = KVCache([LAYER], UNIT)
    other: Any = cache.take(LENGTH)
    other.length = LENGTH
    mine: Any = cache.take(LENGTH)
    running = [(with_in_common(LEAST - 1), other)]
    assert PrefixCache(cache).reuse(NEW, None, mine, running) == 0
