"""How long to wait after a failure: per-item exponential backoff.

The defaults are controller-runtime's: 5 ms after the first failure, doubled by
each further one, never more than 1000 s.
"""

from typing import Generic, TypeVar, final

ItemT = TypeVar("ItemT")

# 2**64 steps exceed any ceiling; beyond it a float would overflow.
_MAX_EXPONENT = 64


def exponential(failures: int, *, base: float, ceiling: float) -> float:
    """Return the delay in seconds before the try that follows `failures` failures.

    `failures` counts from 0: the first delay is `base`.
    """
    return min(ceiling, base * 2.0 ** min(failures, _MAX_EXPONENT))


@final
class ItemBackoff(Generic[ItemT]):
    """Counts the failures of each item and turns them into delays.

    Args:
        base: the delay after an item's first failure, in seconds.
        ceiling: the longest delay, in seconds.
    """

    def __init__(self, *, base: float = 0.005, ceiling: float = 1000.0) -> None:
        if not 0 < base <= ceiling:
            raise ValueError(
                f"base must be above 0 and at most ceiling, got base={base}"
                f" and ceiling={ceiling}"
            )
        self._base = base
        self._ceiling = ceiling
        self._failures: dict[ItemT, int] = {}

    def next_delay(self, item: ItemT) -> float:
        """Count one more failure of the item and return its delay in seconds."""
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        return exponential(failures, base=self._base, ceiling=self._ceiling)

    def failures(self, item: ItemT) -> int:
        """Return how often the item failed since it was last forgotten."""
        return self._failures.get(item, 0)

    def forget(self, item: ItemT) -> None:
        """Start the item afresh: it succeeded, or is given up."""
        self._failures.pop(item, None)
