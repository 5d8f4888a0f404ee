"""Where tokens leave ``generate``: a stopping criterion that looks at each one."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch

from pykaito.runtime.hf.detokenizer import Detokenizer
from pykaito.runtime.hf.engine import Chunk, FinishReason, GenerationRequest
from pykaito.runtime.hf.sampling import LogprobRecorder

Tensor = Any  # torch publishes no types that strict mode can read


class CancelledGenerationError(Exception):
    """Raised inside ``generate`` to leave it; nobody waits for the rest."""


class CancelCheck:
    """A stopping criterion that never stops, but leaves when cancelled.

    An exception, since a criterion that says "stop" ends only a beam, and the
    search goes on with others.
    """

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """Return that no row is finished; raise if cancelled."""
        del scores
        if self._cancelled():
            raise CancelledGenerationError
        rows = input_ids.shape[0]
        return torch.zeros(rows, dtype=torch.bool, device=input_ids.device)


class TokenTap:
    """A stopping criterion that emits a chunk per token and sequence.

    It runs once a step, after the token was chosen, and says which sequences
    are finished: by an end token, a stop text or their length.
    """

    def __init__(
        self,
        request: GenerationRequest,
        *,
        end_tokens: Collection[int],
        decode: Callable[[list[int]], str],
        recorder: LogprobRecorder | None,
        emit: Callable[[Chunk], None],
    ) -> None:
        self._rows = [
            _Row(request, index, end_tokens, decode)
            for index in range(request.sequences)
        ]
        self._recorder = recorder
        self._emit = emit

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """Emit the new tokens; return which rows are finished."""
        del scores
        newest: Sequence[int] = input_ids[:, -1].tolist()
        for index, (row, token) in enumerate(zip(self._rows, newest, strict=True)):
            if row.finished:
                continue
            chunk = row.push(token, self._recorder, index)
            self._emit(chunk)
        finished = [row.finished for row in self._rows]
        return torch.tensor(finished, device=input_ids.device)


class _Row:
    """One sequence on its way."""

    def __init__(
        self,
        request: GenerationRequest,
        index: int,
        end_tokens: Collection[int],
        decode: Callable[[list[int]], str],
    ) -> None:
        self._index = index
        self._end_tokens = end_tokens
        self._left = request.max_new_tokens
        self._text = Detokenizer(decode, request.prompt, request.stop)
        self.finished = False

    def push(self, token_id: int, recorder: LogprobRecorder | None, row: int) -> Chunk:
        """Take the sequence's next token."""
        self._left -= 1
        text = self._text.push(token_id)
        reason: FinishReason | None = None
        if token_id in self._end_tokens or self._text.stopped:
            reason = "stop"
        elif self._left <= 0:
            reason = "length"
        if reason is not None:
            self.finished = True
            text += self._text.flush()
            if self._text.stopped:
                reason = "stop"
        logprobs = () if recorder is None else (recorder.read(row, token_id),)
        return Chunk(
            sequence=self._index,
            token_ids=(token_id,),
            text=text,
            logprobs=logprobs,
            finish_reason=reason,
        )
