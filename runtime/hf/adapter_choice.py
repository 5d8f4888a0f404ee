"""Which adapter the tokens that a model is reading are to be read with.

A step reads tokens of several requests, and each of these may have chosen one
adapter. Who runs the model says so here, and modules that adapters change look.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch

Tensor = Any  # torch publishes no types that strict mode can read

#: An adapter, by its place among all; None: all of them, as they are merged.
Choice = int | None


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Rows of a module's output that are not to be the merged model's."""

    #: Which rows; None: all.
    indices: Tensor | None
    #: The adapter of each, or of all: a column.
    adapters: Tensor


class Chosen:
    """The choices of the tokens in a step, at least one of which is an adapter.

    Args:
        tokens: The choice of each token; a single one holds for all there are.
        kept: The tokens for which scores are wanted.
    """

    def __init__(self, tokens: Sequence[Choice], kept: Sequence[int] = ()) -> None:
        self._tokens = tokens
        self._kept = [tokens[index] for index in kept]
        self._same = len(set(tokens)) == 1
        self._found: dict[tuple[bool, Any], ChosenRows | None] = {}

    @classmethod
    def of(cls, tokens: Sequence[Choice], kept: Sequence[int] = ()) -> "Chosen | None":
        """Return the choices; None if all are for the merged model."""
        return None if all(one is None for one in tokens) else cls(tokens, kept)

    def rows(self, count: int, device: Any) -> ChosenRows | None:
        """Return which rows of a module's output adapters were chosen for.

        Args:
            count: The rows that it has: one for each token, or each that is kept.
            device: Where the tensors are wanted.

        Raises:
            ValueError: if rows are not tokens, so that nobody knows whose they are.
        """
        whole = self._same or count == len(self._tokens)
        if not whole and count != len(self._kept):
            raise ValueError(
                f"a module has {count} rows for {len(self._tokens)} tokens of several "
                "adapters"
            )
        key = whole, device
        if key not in self._found:
            choices = self._tokens if whole else self._kept
            self._found[key] = self._find(choices, device)
        return self._found[key]

    def _find(self, choices: Sequence[Choice], device: Any) -> ChosenRows | None:
        if self._same:
            return ChosenRows(None, torch.tensor([choices[:1]], device=device))
        mine = [index for index, choice in enumerate(choices) if choice is not None]
        if not mine:
            return None
        adapters = torch.tensor([[choices[index]] for index in mine], device=device)
        if len(mine) == len(choices):
            return ChosenRows(None, adapters)
        return ChosenRows(torch.tensor(mine, device=device), adapters)


#: What the tokens that are being read were chosen for; None: the merged model.
CHOSEN: ContextVar[Chosen | None] = ContextVar("chosen", default=None)


@contextmanager
def choosing(chosen: Chosen | None) -> Iterator[None]:
    """Have modules read tokens with the adapters chosen, while the block runs."""
    token = CHOSEN.set(chosen)
    try:
        yield
    finally:
        CHOSEN.reset(token)
