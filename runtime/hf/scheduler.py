"""Who is in the batch, and which tokens the next step reads.

A sequence waits, joins when there is a row for its prompt, has its prompt read
in one step or several, then generates a token a step until it is finished.
When rows run out, the one that joined last gives up its row, and later reads
all its tokens again: those who came first always get on.
"""

from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Any

from pykaito.runtime.hf.adapter_choice import Choice
from pykaito.runtime.hf.batch_sampling import Sampler
from pykaito.runtime.hf.kv_cache import KVCache, Row
from pykaito.runtime.hf.prefix_cache import PrefixCache
from pykaito.runtime.hf.ragged_attention import Span
from pykaito.runtime.hf.sequence_output import SequenceOutput

#: Tokens that a step reads: a long prompt is read in several, between which
#: everyone else gets a token.
STEP_TOKENS = 512


@dataclass(eq=False, slots=True)
class Sequence:
    """One answer on its way.

    ``owner`` is whose it is; ``sibling`` has the same prompt and choice and came
    before.
    """

    owner: Any
    #: The prompt and the answer so far.
    tokens: list[int]
    sampler: Sampler
    output: SequenceOutput
    choice: Choice = None
    sibling: "Sequence | None" = None
    row: Row | None = None
    #: Tokens whose keys and values are in the row.
    computed: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What one sequence does in a step: read this span of its tokens."""

    sequence: Sequence
    span: Span

    @property
    def tokens(self) -> list[int]:
        """The tokens to read."""
        return self.sequence.tokens[self.span.start : self.span.end]

    @property
    def asks(self) -> bool:
        """Whether a token is to be chosen after them."""
        return self.span.end == len(self.sequence.tokens)


class Scheduler:
    """Admits sequences in their order and plans steps.

    Args:
        cache: Where they get their rows.
        most: How many may be in the batch.
        switch: The length at which a sequence has to be read anew, and at once,
            since its positions are others from there on; None: no length.
    """

    def __init__(self, cache: KVCache, most: int, switch: int | None = None) -> None:
        self._cache = cache
        self._prefixes = PrefixCache(cache)
        self._most = most
        self._switch = switch
        self._waiting: deque[Sequence] = deque()
        #: By when they joined.
        self._running: list[Sequence] = []

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting or self._running)

    def add(self, sequences: Iterable[Sequence]) -> None:
        """Let sequences wait behind the others."""
        self._waiting.extend(sequences)

    def plan(self) -> list[Work]:
        """Return the next step: each running sequence's part in it."""
        self._admit()
        planned: list[tuple[Sequence, int]] = []
        for sequence, most in self._shares(max(STEP_TOKENS, self._most)):
            if sequence.row is None:
                continue  # it has just made room
            if most and self._widen(sequence, sequence.computed + most):
                planned.append((sequence, most))
        return [
            Work(sequence, Span(sequence.row, sequence.computed, count))
            for sequence, count in planned
            if sequence.row is not None
        ]

    def done(self, works: Items[Work]) -> None:
        """Note that the spans were read."""
        for work in works:
            work.sequence.computed = work.span.end

    def finish(self, sequence: Sequence) -> None:
        """Take a sequence out; its beginning may serve others."""
        row = sequence.row
        if row is not None and not self._is_far(row.length):
            self._prefixes.keep(sequence.tokens, sequence.choice, row)
        self._remove(sequence)

    def drop(self, sequence: Sequence) -> None:
        """Take a sequence out before its end; it may wait, run or be gone.

        What its row holds may be no numbers: those of a part of a prompt, say, are
        seen in its scores alone, which come with the last part.
        """
        if sequence.row is not None:
            self._cache.clear(sequence.row)
        self._remove(sequence)

    def _remove(self, sequence: Sequence) -> None:
        if sequence.row is not None:
            self._cache.release(sequence.row)
            sequence.row = None
        if sequence in self._running:
            self._running.remove(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)

    def _shares(self, budget: int) -> list[tuple[Sequence, int]]:
        """Return how many tokens of a step each running sequence may have.

        Those that generate come first: a token each. Of the rest, half is for the
        prompt that came first, and half for those that need least, so that a short
        one does not wait for long ones, and no long one for ever.
        """
        for one in self._running:
            if self._is_far(len(one.tokens)) and not self._is_far(one.computed):
                one.computed = 0
        shares: list[tuple[Sequence, int]] = []
        reading: list[Sequence] = []
        for one in self._running:
            if _unread(one) <= 1 or self._is_far(len(one.tokens)):
                shares.append((one, _unread(one)))
            else:
                reading.append(one)
        budget = max(0, budget - sum(share for _, share in shares))
        if reading:
            first, *others = reading
            spared = budget - sum(map(_unread, others))
            most = max((budget + 1) // 2, spared)
            for one in (first, *sorted(others, key=_unread)):
                share = min(_unread(one), most if one is first else budget)
                shares.append((one, share))
                budget -= share
        return shares

    def _admit(self) -> None:
        while len(self._running) < self._most:
            # Those who wait for a sibling's prompt keep nobody else waiting.
            sequence = next(
                (one for one in self._waiting if not _can_copy_soon(one)), None
            )
            if sequence is None:
                return
            row = self._take(len(sequence.tokens) + 1)
            if row is None:
                return
            self._waiting.remove(sequence)
            sequence.row = row
            far = self._is_far(len(sequence.tokens))
            sequence.computed = 0 if far else self._reuse(sequence, row)
            self._running.append(sequence)

    def _is_far(self, length: int) -> bool:
        """Whether a sequence of this length has the positions of long ones."""
        return self._switch is not None and length > self._switch

    def _reuse(self, sequence: Sequence, row: Row) -> int:
        """Copy to a row what others have in common with it; return how much."""
        running = [
            (one.tokens, one.row)
            for one in self._running
            if one.row is not None
            and one.choice == sequence.choice
            and not self._is_far(one.row.length)
        ]
        return self._prefixes.reuse(sequence.tokens, sequence.choice, row, running)

    def _take(self, tokens: int) -> Row | None:
        """Return a row, at the cost of what is kept for later."""
        while (row := self._cache.take(tokens)) is None:
            if not self._prefixes.evict():
                return None
        return row

    def _widen(self, sequence: Sequence, tokens: int) -> bool:
        """Give a sequence a row for so many tokens; False if it has to wait."""
        while sequence.row is not None:
            wider = self._cache.grow(sequence.row, tokens)
            if wider is not None:
                sequence.row = wider
                return True
            if not self._prefixes.evict():
                self._preempt(self._running[-1])
        return False

    def _preempt(self, sequence: Sequence) -> None:
        self.drop(sequence)
        self._waiting.appendleft(sequence)


def _unread(sequence: Sequence) -> int:
    return len(sequence.tokens) - sequence.computed


def _can_copy_soon(sequence: Sequence) -> bool:
    """Whether another is just reading the same prompt."""
    sibling = sequence.sibling
    return (
        sibling is not None
        and sibling.row is not None
        and sibling.computed < len(sequence.tokens) - 1
    )
