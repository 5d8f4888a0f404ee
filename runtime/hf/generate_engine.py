"""An engine around ``model.generate``: one thread, one request at a time.

The thread calls ``generate`` with a stopping criterion that hands out each
token as it comes (`token_tap`), so the tokens are ``generate``'s own for every
argument it knows. Requests wait in the order they came.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import torch

from pykaito.runtime.hf.detokenizer import Detokenizer
from pykaito.runtime.hf.engine import Chunk, FinishReason, GenerationRequest
from pykaito.runtime.hf.errors import (
    ApiError,
    EngineError,
    InvalidRequestError,
    NotReadyError,
    QueueFullError,
)
from pykaito.runtime.hf.loading import LoadedModel
from pykaito.runtime.hf.sampling import LogprobRecorder, logits_processors
from pykaito.runtime.hf.token_tap import CancelCheck, CancelledGenerationError, TokenTap

log = logging.getLogger(__name__)

#: Seconds a client is told to wait when no request has been timed yet.
FIRST_GUESS = 1.0
#: No client is told to wait longer than this many seconds.
LONGEST_WAIT = 60.0


class GenerateEngine:
    """Runs requests on one thread, in order.

    Args:
        loaded: The model and its tokenizer.
        max_waiting: Requests that may wait while one runs.
    """

    def __init__(self, loaded: LoadedModel, *, max_waiting: int) -> None:
        self._loaded = loaded
        self._max_waiting = max_waiting
        self._queue: deque[_Generation] = deque()
        self._current: _Generation | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._failure: str | None = None
        #: Moving average of the seconds a request runs.
        self._typical_seconds = FIRST_GUESS
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Requests that are being generated: 0 or 1."""
        return 0 if self._current is None else 1

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._queue)

    @property
    def failure(self) -> str | None:
        """Why it can never generate again, or None while it can."""
        return self._failure

    def submit(self, request: GenerationRequest) -> "_Generation":
        """Accept a request; see `Engine.submit`."""
        generation = _Generation(request, self._forget)
        with self._changed:
            if self._closed:
                raise NotReadyError("the server is shutting down")
            # Whether the thread has taken up the first already says nothing.
            busy = len(self._queue) + self.running
            if busy > self._max_waiting:
                raise QueueFullError(
                    f"{busy} requests are running or waiting already, no more than "
                    f"{1 + self._max_waiting} may: try again later",
                    retry_after=self._expected_wait(),
                )
            self._queue.append(generation)
            self._changed.notify()
        return generation

    def close(self) -> None:
        """Fail whatever is not finished and take nothing more."""
        with self._changed:
            self._closed = True
            left = [*self._queue]
            if self._current is not None:
                left.append(self._current)
            self._queue.clear()
            self._changed.notify()
        for generation in left:
            generation.end(NotReadyError("the server is shutting down"))
            generation.cancel()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, after `close`."""
        self._thread.join(timeout)

    def _expected_wait(self) -> float:
        return min(LONGEST_WAIT, self._typical_seconds * (1 + len(self._queue)))

    def _forget(self, generation: "_Generation") -> None:
        """Give a cancelled request's place in the queue to others."""
        with self._changed, contextlib.suppress(ValueError):
            self._queue.remove(generation)

    def _run(self) -> None:
        while (generation := self._next()) is not None:
            started = generation.started_at = time.monotonic()
            outcome: ApiError | None = None
            try:
                self._generate(generation)
            except CancelledGenerationError:
                pass
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a model raises
                outcome = self._explain(error, generation)
            seconds = time.monotonic() - started
            self._typical_seconds += (seconds - self._typical_seconds) / 8
            with self._changed:
                self._current = None
            # Last: whoever has seen the end finds the place free.
            generation.end(outcome)

    def _next(self) -> "_Generation | None":
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            self._current = self._queue.popleft()
            return self._current

    def _generate(self, generation: "_Generation") -> None:
        request, loaded = generation.request, self._loaded
        # Each request draws numbers of its own, whatever ran before it.
        if request.seed is None:
            torch.seed()
        else:
            torch.manual_seed(request.seed)
        processors = logits_processors(request)
        criteria: list[Any] = [CancelCheck(lambda: generation.cancelled)]
        if not request.beam_search:
            recorders = [one for one in processors if isinstance(one, LogprobRecorder)]
            tap = TokenTap(
                request,
                end_tokens=loaded.end_tokens(request),
                decode=loaded.decode,
                recorder=recorders[0] if recorders else None,
                emit=generation.emit,
            )
            criteria.append(tap)
        prompt = torch.tensor([request.prompt], device=loaded.device)
        with torch.inference_mode():
            output = loaded.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                logits_processor=processors,
                stopping_criteria=criteria,
                max_new_tokens=request.max_new_tokens,
                num_return_sequences=request.sequences,
                **request.options,
            )
        if request.beam_search:
            for index, row in enumerate(output[:, prompt.shape[1] :].tolist()):
                generation.emit(self._whole_sequence(request, index, row))

    def _whole_sequence(
        self, request: GenerationRequest, index: int, row: list[int]
    ) -> Chunk:
        """Make one chunk of a sequence that beam search has found."""
        end_tokens = self._loaded.end_tokens(request)
        text = Detokenizer(self._loaded.decode, request.prompt, request.stop)
        answer, pieces = [], []
        reason: FinishReason = "length"
        for token in row:
            answer.append(token)
            pieces.append(text.push(token))
            if token in end_tokens or text.stopped:
                reason = "stop"
                break
        pieces.append(text.flush())
        return Chunk(
            sequence=index,
            token_ids=tuple(answer),
            text="".join(pieces),
            finish_reason="stop" if text.stopped else reason,
        )

    def _explain(self, error: Exception, generation: "_Generation") -> ApiError:
        if isinstance(error, ApiError):
            return error
        if isinstance(error, ValueError) and not generation.emitted:
            # `generate` checks its arguments before the first token.
            return InvalidRequestError(f"the model cannot generate this: {error}")
        log.error("generation failed", exc_info=error)
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
            return EngineError(
                "the accelerator's memory does not hold this request: shorten "
                "the prompt or ask for fewer tokens, sequences or beams",
                code="out_of_memory",
            )
        if isinstance(error, torch.AcceleratorError):
            # The device's state is lost for the whole process.
            self._failure = f"the accelerator failed: {_first_line(error)}"
        return EngineError(f"generation failed: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


class _Generation:
    """The event loop's end of a request, fed by the engine's thread."""

    def __init__(self, request: GenerationRequest, forget: Any) -> None:
        self.request = request
        self.started_at: float | None = None
        self.cancelled = False
        self.emitted = False
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        #: Chunks, then None at the end or an error instead of it. It holds at
        #: most one item per token of the answer.
        self._events: asyncio.Queue[Chunk | ApiError | None] = asyncio.Queue()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Iterate over the chunks, once; see `Generation.chunks`."""
        while (event := await self._events.get()) is not None:
            if isinstance(event, ApiError):
                raise event
            yield event

    def cancel(self) -> None:
        """Stop at the next token, or leave the queue."""
        self.cancelled = True
        self._forget(self)

    def emit(self, chunk: Chunk) -> None:
        self.emitted = True
        self._put(chunk)

    def end(self, error: ApiError | None) -> None:
        self._put(error)

    def _put(self, event: Chunk | ApiError | None) -> None:
        # The loop may be closed when the process is on its way out.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
