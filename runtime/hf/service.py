"""One request from its acceptance to its end: time limit, metrics, log line."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pykaito.runtime.hf.engine import Chunk, Generation, GenerationRequest
from pykaito.runtime.hf.errors import ApiError, QueueFullError, RequestTimeoutError
from pykaito.runtime.hf.lifecycle import Lifecycle
from pykaito.runtime.hf.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationService:
    """Runs requests on the engine that the lifecycle holds.

    Args:
        lifecycle: Says whether requests may be taken.
        metrics: Where they are counted.
        timeout: Seconds a request may take, waiting included.
    """

    lifecycle: Lifecycle
    metrics: Metrics
    timeout: float

    def check_room(self, requests: int = 1) -> None:
        """Refuse requests of which not all would be accepted now.

        Before a prompt is read, which takes time too; and before the first of
        several is accepted.

        Raises:
            QueueFullError, NotReadyError: as `accept` would.
        """
        with self._counting_rejected():
            self.lifecycle.ready_engine.check_room(requests)

    def accept(self, request: GenerationRequest) -> "Run":
        """Take a request; the caller iterates over it, and closes it in any case.

        Raises:
            QueueFullError, NotReadyError: before anything was done.
        """
        with self._counting_rejected():
            generation = self.lifecycle.ready_engine.submit(request)
        return Run(request, generation, self.metrics, self.timeout)

    @contextmanager
    def _counting_rejected(self) -> Iterator[None]:
        try:
            yield
        except QueueFullError:
            self.metrics.rejected.inc()
            raise


class Run:
    """An accepted request. Iterate once, then `close`.

    Iterating raises what `Generation.chunks` raises, and `RequestTimeoutError`.
    """

    def __init__(
        self,
        request: GenerationRequest,
        generation: Generation,
        metrics: Metrics,
        timeout: float,
    ) -> None:
        self.request = request
        self._generation = generation
        self._metrics = metrics
        self._timeout = timeout
        self._arrived = time.monotonic()
        self._first_token: float | None = None
        self._last_token = self._arrived
        self._tokens = 0
        self._unfinished = request.sequences
        #: As vLLM names it; whoever leaves before the end has aborted.
        self._outcome = "abort"
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        chunks = self._generation.chunks()
        # The event loop's clock is the same monotonic one.
        deadline = self._arrived + self._timeout
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                self._outcome = "error"
                raise RequestTimeoutError(
                    f"the request took longer than {self._timeout:g} seconds "
                    f"(--request_timeout); it had {self._tokens} tokens of its answer"
                ) from None
            except ApiError:
                self._outcome = "error"
                raise
            self._observe(chunk)
            yield chunk

    def close(self) -> None:
        """Stop generating if it is not finished, and record how it went."""
        if self._closed:
            return
        self._closed = True
        self._generation.cancel()
        self._record()

    def _observe(self, chunk: Chunk) -> None:
        now = time.monotonic()
        if self._first_token is None:
            self._first_token = now
            self._metrics.time_to_first_token.observe(now - self._arrived)
        elif chunk.sequence == 0:
            self._metrics.inter_token_latency.observe(now - self._last_token)
        if chunk.sequence == 0:
            self._last_token = now
        if chunk.finish_reason is not None:
            self._unfinished -= 1
            if not self._unfinished:
                self._outcome = chunk.finish_reason
        self._tokens += len(chunk.token_ids)
        self._metrics.generation_tokens.inc(len(chunk.token_ids))

    def _record(self) -> None:
        seconds = time.monotonic() - self._arrived
        metrics, started = self._metrics, self._generation.started_at
        if started is not None:
            metrics.queue_time.observe(max(0.0, started - self._arrived))
            metrics.prompt_tokens.inc(len(self.request.prompt))
        if self._outcome in {"stop", "length"}:
            metrics.request_latency.observe(seconds)
            metrics.request_prompt_tokens.observe(len(self.request.prompt))
            metrics.request_generation_tokens.observe(self._tokens)
        metrics.finished(self._outcome)
        log.info(
            "request finished",
            extra={
                "request_id": self.request.id,
                "finished_reason": self._outcome,
                "prompt_tokens": len(self.request.prompt),
                "generation_tokens": self._tokens,
                "queued_seconds": _since(self._arrived, started),
                "first_token_seconds": _since(self._arrived, self._first_token),
                "seconds": round(seconds, 3),
            },
        )


def _since(start: float, end: float | None) -> float | None:
    return None if end is None else round(max(0.0, end - start), 3)
