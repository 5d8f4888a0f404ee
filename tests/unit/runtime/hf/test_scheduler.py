from typing import Any

import pytest
import torch

from pykaito.runtime.hf.batch_sampling import Sampler, SamplingParams
from pykaito.runtime.hf.engine import GenerationRequest
from pykaito.runtime.hf.kv_cache import NARROWEST, UNIT, KVCache, LayerShape
from pykaito.runtime.hf.scheduler import STEP_TOKENS, Scheduler, Sequence, Work
from pykaito.runtime.hf.sequence_output import SequenceOutput

LAYER = LayerShape(
    heads=1,
    key_width=1,
    value_width=1,
    dtype=torch.float32,
    device=torch.device("cpu"),
)


def scheduler(
    *, most: int = 64, units: int = 8, switch: int | None = None
) -> Scheduler:
    return Scheduler(KVCache([LAYER], units * UNIT), most, switch=switch)


def sequence(tokens: int, *, first: int = 0, sibling: Any = None) -> Sequence:
    prompt = tuple(range(first, first + tokens))
    request = GenerationRequest(id="test", prompt=prompt, max_new_tokens=10**6)
    params = SamplingParams(logit_bias={})
    return Sequence(
        owner=None,
        tokens=list(prompt),
        sampler=Sampler(params, prompt, None, 0),
        output=SequenceOutput(request, 0, end_tokens=(), decode=lambda _: ""),
        sibling=sibling,
    )


def step(running: Scheduler) -> list[Work]:
    """Take a step as the engine does: who asks gets a token."""
    works = running.plan()
    for work in works:
        row = work.span.row
        assert row.slab.width >= work.span.end
        row.length = work.span.end
    running.done(works)
    for work in works:
        if work.sequence.computed == len(work.sequence.tokens):
            work.sequence.tokens.append(1)
    return works


def parts(works: list[Work]) -> list[tuple[int, int]]:
    return [(work.span.start, work.span.count) for work in works]


def test_a_prompt_is_read_at_once_and_then_a_token_a_step() -> None:
    running = scheduler()
    running.add([sequence(20)])
    assert parts(step(running)) == [(0, 20)]
    assert parts(step(running)) == [(20, 1)]
    assert parts(step(running)) == [(21, 1)]


def test_a_long_prompt_is_read_in_parts_while_others_generate() -> None:
    running = scheduler()
    running.add([sequence(20)])
    step(running)
    running.add([sequence(STEP_TOKENS + 50, first=1000)])
    assert parts(step(running)) == [(20, 1), (0, STEP_TOKENS - 1)]
    assert parts(step(running)) == [(21, 1), (STEP_TOKENS - 1, 51)]
    assert parts(step(running)) == [(22, 1), (STEP_TOKENS + 50, 1)]


def test_a_short_prompt_waits_for_no_long_ones() -> None:
    running = scheduler(units=64)
    long = [sequence(4 * STEP_TOKENS, first=10_000 * index) for index in range(3)]
    short = sequence(20, first=100_000)
    running.add([*long, short])
    works = step(running)
    assert short.computed == 20
    assert sum(work.span.count for work in works) == STEP_TOKENS


def test_a_long_prompt_gets_on_however_many_short_ones_come() -> None:
    running = scheduler(units=64)
    long = sequence(2 * STEP_TOKENS)
    running.add([long])
    for number in range(4):
        shorts = [sequence(100, first=1000 * (9 * number + i + 1)) for i in range(9)]
        before = long.computed
        running.add(shorts)
        step(running)
        assert long.computed - before >= (STEP_TOKENS - 9 * number) // 2
        for one in shorts:
            running.drop(one)


def test_no_more_sequences_run_than_may() -> None:
    running = scheduler(most=2)
    waiting = [sequence(5, first=100 * index) for index in range(3)]
    running.add(waiting)
    assert len(step(running)) == 2
    running.finish(waiting[0])
    assert [work.sequence for work in step(running)] == waiting[1:]


def test_who_came_first_gets_on_when_rows_run_out() -> None:
    """The one that joined last gives way, and reads all it had again."""
    running = scheduler(units=2)
    first, last = sequence(UNIT - 1), sequence(UNIT - 1, first=10**6)
    running.add([first, last])
    while not (first.computed == len(first.tokens) - 1 > UNIT):
        step(running)
    assert last.row is None
    had = list(last.tokens)
    running.drop(first)
    step(running)
    assert last.computed == STEP_TOKENS
    assert last.tokens == had


@pytest.mark.parametrize("units", [1, 2, 3])
def test_a_sequence_that_fits_alone_always_ends(units: int) -> None:
    running = scheduler(units=units)
    longest = units * UNIT if units != 3 else 2 * UNIT
    all_of_them = [sequence(40, first=10**6 * index) for index in range(3)]
    running.add(all_of_them)
    left = list(all_of_them)
    for _ in range(30 * UNIT):
        if not left:
            break
        step(running)
        for one in list(left):
            if len(one.tokens) >= longest:
                running.finish(one)
                left.remove(one)
    assert not left
    assert not running.busy


def test_answers_to_one_prompt_read_it_once() -> None:
    running = scheduler()
    first = sequence(100)
    running.add([first, sequence(100, sibling=first), sequence(100, sibling=first)])
    assert parts(step(running)) == [(0, 100)]
    assert parts(step(running)) == [(100, 1), (99, 1), (99, 1)]


def test_answers_that_wait_for_their_prompt_keep_nobody_else_waiting() -> None:
    running = scheduler(units=64)
    first = sequence(3 * STEP_TOKENS)
    second = sequence(3 * STEP_TOKENS, sibling=first)
    other = sequence(20, first=10**6)
    running.add([first, second, other])
    step(running)
    assert (other.computed, second.row) == (20, None)
    while second.row is None:
        step(running)
    assert second.computed == len(second.tokens) - 1


def test_a_conversation_that_goes_on_is_not_read_again() -> None:
    running = scheduler()
    first = sequence(100)
    running.add([first])
    for _ in range(5):
        step(running)
    running.finish(first)
    known = list(first.tokens[: first.computed])
    again = sequence(0)
    again.tokens = [*known, 7, 8, 9]
    running.add([again])
    assert parts(step(running)) == [(len(known), 3)]


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(("choice", "left"), [(1, 1), (0, 100), (None, 100)])
def test_what_was_read_serves_those_of_the_same_adapter_alone(
    choice: int | None, left: int, ends: bool
) -> None:
    """Whether the other is still in the batch or has left it."""
    running = scheduler()
    first, second = sequence(100), sequence(100)
    first.choice, second.choice = 1, choice
    running.add([first])
    step(running)
    if ends:
        running.finish(first)
    running.add([second])
    assert parts(step(running))[-1] == (100 - left, left)


def test_what_is_kept_for_later_gives_way_to_who_needs_it() -> None:
    running = scheduler(units=1)
    for index in range(3):
        one = sequence(100, first=1000 * index)
        running.add([one])
        step(running)
        running.finish(one)
    whole = sequence(UNIT - 1, first=10**6)
    running.add([whole])
    assert parts(step(running)) == [(0, STEP_TOKENS)]


def test_a_sequence_is_read_anew_where_its_positions_change() -> None:
    running = scheduler(switch=22)
    running.add([sequence(20)])
    found = [parts(step(running))[0] for _ in range(5)]
    assert found == [(0, 20), (20, 1), (21, 1), (0, 23), (23, 1)]


def test_a_sequence_beyond_that_length_is_read_at_once() -> None:
    running = scheduler(switch=50)
    running.add([sequence(STEP_TOKENS + 50), sequence(40, first=10**6)])
    assert parts(step(running)) == [(0, STEP_TOKENS + 50)]
    assert parts(step(running)) == [(STEP_TOKENS + 50, 1), (0, 40)]


def test_sequences_on_both_sides_of_that_length_copy_nothing() -> None:
    running = scheduler(switch=50)
    for tokens in (60, 40, 70):
        one = sequence(tokens)
        running.add([one])
        assert parts(step(running)) == [(0, tokens)]
        running.finish(one)


def test_a_sequence_may_leave_at_any_time() -> None:
    running = scheduler(most=1)
    first, second = sequence(5), sequence(5, first=100)
    running.add([first, second])
    step(running)
    running.drop(second)
    running.drop(first)
    running.drop(first)
    assert not running.busy
    assert running.plan() == []


def test_a_row_that_is_left_early_is_cleared_for_the_next() -> None:
    cache = KVCache([LAYER], UNIT)
    running = Scheduler(cache, 1)
    one = sequence(5)
    running.add([one])
    step(running)
    cache.keys[0][:NARROWEST] = float("nan")
    running.drop(one)
    assert not cache.keys[0][:NARROWEST].isnan().any()
