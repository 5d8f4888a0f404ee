"""How long the state machines run: briefly in `make test`, long in `make soak`."""

import os


def examples(brief: int) -> int:
    """Return how many examples to try, for a test that tries `brief` in short."""
    return brief * int(os.environ.get("SOAK_FACTOR", "1"))
