"""Sequences come, grow and go: each finds its own tokens again, and no other's."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pykaito.runtime.hf.kv_cache import (
    NARROWEST,
    UNIT,
    KVCache,
    LayerShape,
    Row,
    row_width,
)
from pykaito.runtime.presets.memory import UNIT_TOKENS

LAYER = LayerShape(
    heads=1,
    key_width=1,
    value_width=1,
    dtype=torch.float32,
    device=torch.device("cpu"),
)
UNITS = 6


def make(units: int = UNITS) -> KVCache:
    return KVCache([LAYER], units * UNIT)


def write(cache: KVCache, row: Row, mark: int, tokens: int) -> None:
    for tensor in (cache.keys[0], cache.values[0]):
        tensor[row.start : row.start + tokens] = mark
    row.length = tokens


def content(cache: KVCache, row: Row) -> set[float]:
    slots = slice(row.start, row.start + row.length)
    found = torch.cat([cache.keys[0][slots], cache.values[0][slots]])
    return set(found.flatten().tolist())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "grow", "release"]),
            st.integers(1, 4 * UNIT),
            st.integers(0, 100),
        ),
        max_size=60,
    )
)
def test_rows_keep_their_content_whatever_others_do(
    steps: list[tuple[str, int, int]],
) -> None:
    cache, rows, marks = make(), {}, iter(range(1, 1000))
    for what, tokens, which in steps:
        if what == "take":
            row = cache.take(tokens)
            if row is not None:
                mark = next(marks)
                write(cache, row, mark, tokens)
                rows[mark] = row
        elif rows:
            mark = sorted(rows)[which % len(rows)]
            if what == "release":
                cache.release(rows.pop(mark))
            else:
                wider = cache.grow(rows[mark], tokens)
                if wider is not None:
                    assert wider.slab.width >= tokens
                    rows[mark] = wider
        for mark, row in rows.items():
            assert content(cache, row) == {mark}
    for row in rows.values():
        cache.release(row)
    assert cache.usage == 0


def test_rows_of_one_width_lie_side_by_side() -> None:
    cache = make()
    rows = [cache.take(NARROWEST) for _ in range(4)]
    starts = [row.start for row in rows if row is not None]
    assert starts == [0, NARROWEST, 2 * NARROWEST, 3 * NARROWEST]


def test_the_last_row_takes_the_place_of_one_that_is_freed() -> None:
    cache = make()
    rows: list[Any] = [cache.take(NARROWEST) for _ in range(3)]
    for mark, row in enumerate(rows, 1):
        write(cache, row, mark, NARROWEST)
    cache.release(rows[0])
    assert rows[2].start == 0
    assert content(cache, rows[2]) == {3}


def test_there_is_never_more_than_the_memory_holds() -> None:
    cache = make(units=1)
    rows = 0
    while cache.take(NARROWEST) is not None:
        rows += 1
    assert rows == UNIT // NARROWEST
    assert cache.usage == 1
    assert cache.take(1) is None


def test_a_wider_row_is_better_than_none() -> None:
    cache = make(units=1)
    wide = cache.take(2 * NARROWEST)
    narrow = cache.take(NARROWEST)
    assert wide is not None
    assert narrow is not None
    assert narrow.slab is wide.slab
    assert cache.take(2 * NARROWEST + 1) is None


@pytest.mark.parametrize(("units", "longest"), [(1, UNIT), (3, 3 * UNIT)])
def test_the_longest_sequence_that_fits_is_known(units: int, longest: int) -> None:
    cache = make(units)
    assert cache.longest == longest
    assert cache.take(longest + 1) is None
    assert cache.take(longest) is not None


def test_a_row_is_less_than_twice_as_wide_as_it_must_be() -> None:
    for tokens in range(NARROWEST + 1, 4 * NARROWEST):
        assert tokens <= row_width(tokens) < 2 * tokens


def test_plans_count_with_the_units_that_there_are() -> None:
    assert UNIT_TOKENS == UNIT


def test_a_long_row_is_of_whole_units() -> None:
    assert row_width(UNIT) == UNIT
    assert row_width(UNIT + 1) == 2 * UNIT
    assert row_width(4 * UNIT + 1) == 5 * UNIT


def test_a_long_row_grows_where_it_is_while_the_next_units_are_free() -> None:
    cache = make(units=4)
    row = cache.take(UNIT)
    assert row is not None
    write(cache, row, 7, UNIT)
    assert cache.grow(row, 3 * UNIT) is row
    assert (row.start, row.slab.width, row.length) == (0, 3 * UNIT, UNIT)
    assert content(cache, row) == {7}
    behind = cache.take(1)
    assert behind is not None
    assert behind.start == 3 * UNIT
    assert cache.grow(row, 3 * UNIT + 1) is None
    cache.release(behind)
    assert cache.grow(row, 4 * UNIT) is row
    cache.release(row)
    assert cache.usage == 0
    assert cache.take(4 * UNIT) is not None


def test_a_long_row_moves_where_another_is_behind_it() -> None:
    cache = make(units=6)
    row, behind = cache.take(2 * UNIT), cache.take(1)
    assert row is not None
    assert behind is not None
    write(cache, row, 7, 2 * UNIT)
    moved = cache.grow(row, 2 * UNIT + 1)
    assert moved is not None
    assert moved.start == 3 * UNIT
    assert (content(cache, moved), moved.length) == ({7}, 2 * UNIT)
    assert cache.take(2 * UNIT) is not None


def test_rows_that_are_kept_for_later_do_not_count_as_used() -> None:
    cache = make()
    assert cache.take(NARROWEST, kept=True) is not None
    assert cache.usage == 0
