"""Keeping Python's garbage collector away from the cache.

A full collection visits every cached object: with ten thousand Pods it stops the
event loop for more than half a second, and finds nothing, because parsed JSON has
no cycles.
"""

import contextlib
import gc
from collections.abc import Iterator

YOUNG_OBJECTS = 50_000
"""Allocations between collections of the youngest generation; 700 by default."""


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """Collect nothing inside, and never look again at what was made inside."""
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
        gc.enable()
