"""One line per step: what is being done, then how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_WIDTH = 44


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show a step while it runs and its seconds when it is done.

    On a terminal the line appears at once and is completed; in a log file, where
    a half-written line would look like a hang to nobody, it still comes first.
    """
    started = time.monotonic()
    _show(f"  {title:<{_WIDTH}}")
    try:
        yield
    except BaseException:
        _show("failed\n")
        raise
    _show(f"{time.monotonic() - started:6.1f} s\n")


def note(text: str) -> None:
    """Show one line that is no step."""
    _show(f"  {text}\n")


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
