"""Beginnings that were read before: conversations that go on, shared instructions.

The rows of finished sequences are kept as long as nobody needs their slots. A
new sequence that begins as one of them, or as a running one, does, copies what
they have in common instead of computing it. Keys and values depend on the adapter
that computed them, so that sequences share them with those of the same choice alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pykaito.runtime.hf.adapter_choice import Choice
from pykaito.runtime.hf.kv_cache import KVCache, Row

#: Tokens in common for which copying is worth the while.
LEAST = 16
#: Sequences that are kept at most: each is compared with every new prompt.
MOST_KEPT = 64

Tokens = NDArray[np.int64]


class PrefixCache:
    """The rows of finished sequences, latest used last.

    Args:
        cache: Whose rows they are.
    """

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._kept: list[tuple[Tokens, Choice, Row]] = []

    def keep(self, tokens: Sequence[int], choice: Choice, row: Row) -> None:
        """Copy a sequence's row, in place of older ones if need be."""
        if row.length < LEAST:
            return
        if len(self._kept) >= MOST_KEPT:
            self.evict()
        while (kept := self._cache.take(row.length, kept=True)) is None:
            if not self.evict():
                return
        self._cache.copy(row, kept, row.length)
        self._kept.append((np.asarray(tokens[: row.length]), choice, kept))

    def evict(self) -> bool:
        """Free the row that was of no use for longest; False if there is none."""
        if not self._kept:
            return False
        _, _, row = self._kept.pop(0)
        self._cache.release(row)
        return True

    def reuse(
        self,
        tokens: Sequence[int],
        choice: Choice,
        row: Row,
        running: Sequence[tuple[Sequence[int], Row]],
    ) -> int:
        """Copy to a row what is there already; return how many tokens that is.

        It is all but the last at most: what comes after that is to be computed.

        Args:
            tokens: The new sequence's.
            choice: Its adapter.
            row: Its row.
            running: Sequences of that choice in the batch, and their rows.
        """
        wanted = np.asarray(tokens[:-1])
        best, source = LEAST - 1, None
        for had, whose, where in self._kept:
            if whose == choice:
                common = _common(wanted, had)
                if common > best:
                    best, source = common, where
        for others, where in running:
            # More in common than the best has, they have this token too: to look at
            # one is cheaper than to make an array of thousands.
            if best < min(len(wanted), where.length) and others[best] == tokens[best]:
                common = _common(wanted, np.asarray(others[: where.length]))
                if common > best:
                    best, source = common, where
        if source is None:
            return 0
        self._kept.sort(key=lambda kept: kept[2] is source)
        self._cache.copy(source, row, best)
        return best


def _common(first: Tokens, second: Tokens) -> int:
    """Return how many tokens two sequences have in common at their beginning."""
    length = min(len(first), len(second))
    other = np.flatnonzero(first[:length] != second[:length])
    return int(other[0]) if len(other) else length
