"""Where tokens leave ``generate``: stopping criteria that look at each one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from pykaito.runtime.hf.engine import Chunk
from pykaito.runtime.hf.sampling import LogprobRecorder
from pykaito.runtime.hf.sequence_output import SequenceOutput

Tensor = Any  # torch publishes no types that strict mode can read


class CancelledGenerationError(Exception):
    """Raised inside ``generate`` to leave it; nobody waits for the rest."""


class EachToken:
    """A stopping criterion that never stops, but calls a function.

    To leave, the function raises: a criterion that says "stop" ends only a beam,
    and the search goes on with others.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """Call; return that no row is finished."""
        del scores
        self._call()
        rows = input_ids.shape[0]
        return torch.zeros(rows, dtype=torch.bool, device=input_ids.device)


class TokenTap:
    """A stopping criterion that emits a chunk per token and sequence.

    It runs once a step, after the token was chosen, and says which sequences
    are finished.
    """

    def __init__(
        self,
        outputs: Sequence[SequenceOutput],
        *,
        recorder: LogprobRecorder | None,
        emit: Callable[[Chunk], None],
    ) -> None:
        self._outputs = outputs
        self._recorder = recorder
        self._emit = emit

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """Emit the new tokens; return which rows are finished."""
        del scores
        newest: Sequence[int] = input_ids[:, -1].tolist()
        for row, (output, token) in enumerate(zip(self._outputs, newest, strict=True)):
            if output.finished:
                continue
            recorder = self._recorder
            logprob = None if recorder is None else recorder.read(row, token)
            self._emit(output.push(token, logprob))
        finished = [output.finished for output in self._outputs]
        return torch.tensor(finished, device=input_ids.device)
