"""The engine: one thread, a running batch, and ``generate`` beside it.

Requests join and leave the batch between two of its steps. What only
``generate`` can do runs there, one request at a time; after each of its tokens
the batch takes a step, so that neither waits for the other's end.
"""

import logging
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence as Items

import torch

from pykaito.runtime.hf.batch_sampling import Sampler, choose, sampling_params
from pykaito.runtime.hf.engine import Chunk, GenerationRequest
from pykaito.runtime.hf.errors import (
    ApiError,
    EngineError,
    InvalidRequestError,
    NotReadyError,
    QueueFullError,
)
from pykaito.runtime.hf.generation import Outbox, RunningGeneration
from pykaito.runtime.hf.loading import LoadedModel
from pykaito.runtime.hf.model_runner import ModelRunner, Part
from pykaito.runtime.hf.moving_positions import longest_steady
from pykaito.runtime.hf.sampling import NO_NUMBERS
from pykaito.runtime.hf.scheduler import Scheduler, Sequence, Work
from pykaito.runtime.hf.sequence_output import SequenceOutput
from pykaito.runtime.hf.static_generation import generate_static
from pykaito.runtime.hf.token_tap import CancelledGenerationError

log = logging.getLogger(__name__)

#: Seconds a client is told to wait when no request has been timed yet.
FIRST_GUESS = 1.0
#: No client is told to wait longer than this many seconds.
LONGEST_WAIT = 60.0


class BatchEngine:
    """Runs requests on one thread.

    Args:
        loaded: The model and its tokenizer.
        runner: Runs the batch; None if the model cannot be run so: then all
            requests go through ``generate``, in their order.
        max_running: Sequences in the batch, at most.
        max_waiting: Requests that may wait beside those.
        patience: Seconds that a step may take. One that takes longer most likely
            never ends, and meanwhile nobody is answered.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        runner: ModelRunner | None,
        *,
        max_running: int,
        max_waiting: int,
        patience: float = math.inf,
    ) -> None:
        self._loaded = loaded
        self._runner = runner
        self._longest = longest_steady(loaded.model.config.get_text_config())
        self._defaults = loaded.model.generation_config.to_diff_dict()
        self._max_running = 1 if runner is None else max_running
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        #: All that were accepted and have not ended.
        self._open: set[RunningGeneration] = set()
        #: Those the thread has not seen yet, and those nobody waits for any more.
        self._new: deque[RunningGeneration] = deque()
        self._gone: deque[RunningGeneration] = deque()
        self._closed = False
        self._failure: str | None = None
        self._patience = patience
        #: When the step at hand began (`time.monotonic`); None while there is none.
        self._step_began: float | None = None
        #: Moving average of the seconds a request runs.
        self._typical_seconds = FIRST_GUESS
        # What follows is the thread's alone.
        self._scheduler = (
            None
            if runner is None
            else Scheduler(runner.cache, max_running, switch=runner.switch)
        )
        self._static: deque[RunningGeneration] = deque()
        self._outbox = Outbox()
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Requests that are being generated."""
        return len(self._open) - self.waiting

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(one.started_at is None for one in tuple(self._open))

    @property
    def places(self) -> int:
        """Requests that may run and wait, together."""
        return self._max_running + self._max_waiting

    @property
    def batching(self) -> bool:
        """Whether requests share a running batch."""
        return self._runner is not None

    @property
    def cache_usage(self) -> float:
        """The share of the batch's memory that is in use, from 0 to 1."""
        return 0.0 if self._runner is None else self._runner.cache.usage

    @property
    def failure(self) -> str | None:
        """Why only a restart helps, or None while it generates."""
        if self._failure is None and self._hangs():
            return f"a step has not ended for {self._patience:g} seconds"
        return self._failure

    def _hangs(self) -> bool:
        began = self._step_began
        return began is not None and time.monotonic() - began > self._patience

    def check_room(self, requests: int) -> None:
        """Refuse what does not fit; see `Engine.check_room`."""
        # Whether the thread has taken up the others already says nothing.
        if len(self._open) + requests > self.places:
            raise QueueFullError(
                f"{len(self._open)} requests are running or waiting already, no "
                f"more than {self.places} may: try again later",
                retry_after=self._expected_wait(),
            )

    def submit(self, request: GenerationRequest) -> RunningGeneration:
        """Accept a request; see `Engine.submit`."""
        generation = RunningGeneration(request, self._leave_queue)
        if self._runner is not None:
            generation.sequences = self._sequences(generation)
        with self._changed:
            if self._closed:
                raise NotReadyError("the server is shutting down")
            self.check_room(1)
            self._open.add(generation)
            self._new.append(generation)
            self._changed.notify()
        return generation

    def close(self) -> None:
        """Fail whatever is not finished and take nothing more."""
        with self._changed:
            self._closed = True
            left = tuple(self._open)
            self._open.clear()
            self._changed.notify()
        reason = "is shutting down"
        if self._failure is not None:
            reason = f"must restart: {self._failure}"
        outbox = Outbox()
        for generation in left:
            generation.cancelled = True
            outbox.put(generation, NotReadyError(f"the server {reason}"))
        outbox.send()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, after `close`."""
        self._thread.join(timeout)

    def _expected_wait(self) -> float:
        rounds = 1 + self.waiting / self._max_running
        return min(LONGEST_WAIT, self._typical_seconds * rounds)

    def _leave_queue(self, generation: RunningGeneration) -> None:
        """Give a cancelled request's place to others: at once, if it waits."""
        with self._changed:
            if generation in self._open:
                self._gone.append(generation)
                self._changed.notify()
            if generation.started_at is None:
                self._open.discard(generation)

    def _sequences(self, generation: RunningGeneration) -> list[Sequence]:
        """Return a request's sequences; none if it is one for ``generate``."""
        request = generation.request
        end_tokens = self._loaded.end_tokens(request)
        params = sampling_params(request, self._defaults, end_tokens)
        total = len(request.prompt) + request.max_new_tokens
        if params is None or (self._longest is not None and total > self._longest):
            return []
        sequences: list[Sequence] = []
        for index in range(request.sequences):
            sequence = Sequence(
                owner=generation,
                tokens=list(request.prompt),
                sampler=Sampler(params, request.prompt, request.seed, index),
                output=SequenceOutput(
                    request, index, end_tokens=end_tokens, decode=self._loaded.decode
                ),
                choice=self._loaded.choice(request),
                sibling=sequences[0] if sequences else None,
            )
            sequences.append(sequence)
        return sequences

    # What follows runs on the thread.

    def _run(self) -> None:
        try:
            # All of it: what is made inside cannot be changed outside.
            with torch.inference_mode():
                while self._wait():
                    self._step()
                    if self._static:
                        self._generate(self._static.popleft())
        except BaseException as error:
            # Nobody would be answered any more, and nobody would know: whatever it
            # is (a panic of the tokenizer's Rust is no Exception).
            log.exception("the engine failed")
            self._failure = f"the engine failed: {_first_line(error)}"
            # Those that ended in this step are not told by closing.
            self._outbox.send()
            self.close()

    def _wait(self) -> bool:
        """Wait until there is something to do; False once closed."""
        with self._changed:
            self._step_began = None
            while not self._closed and not self._busy():
                self._changed.wait()
            return not self._closed

    def _busy(self) -> bool:
        batch = self._scheduler is not None and self._scheduler.busy
        return bool(self._new or self._gone or self._static or batch)

    def _step(self) -> None:
        """Take requests in and out, then let the batch generate a token each."""
        self._step_began = time.monotonic()
        with self._changed:
            new, self._new = self._new, deque()
            gone, self._gone = self._gone, deque()
        for generation in new:
            if generation.cancelled:
                self._end(generation, None)
            elif generation.sequences and self._scheduler is not None:
                self._scheduler.add(generation.sequences)
            else:
                self._static.append(generation)
        for generation in gone:
            if generation.sequences:
                self._end(generation, None)
            elif generation in self._static:
                self._static.remove(generation)
                self._end(generation, None)
        if self._scheduler is not None:
            works = self._scheduler.plan()
            if works:
                self._advance(works)
        self._outbox.send()

    def _advance(self, works: Items[Work]) -> None:
        """Read the works' tokens and choose the next ones."""
        assert self._runner is not None and self._scheduler is not None  # noqa: S101, PT018 - there is work
        now = time.monotonic()
        for work in works:
            generation = work.sequence.owner
            generation.started_at = generation.started_at or now
        try:
            scores, order = self._runner.forward(
                [
                    Part(work.span, work.tokens, work.asks, work.sequence.choice)
                    for work in works
                ]
            )
            choices = choose(scores, [works[index].sequence.sampler for index in order])
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a model raises
            self._fail(works, error)
            return
        self._scheduler.done(works)
        for index, choice in zip(order, choices, strict=True):
            sequence = works[index].sequence
            generation = sequence.owner
            if sequence.row is None:
                continue  # its request has just failed
            if choice.token_id is None:
                self._end(generation, EngineError(NO_NUMBERS))
                continue
            sequence.tokens.append(choice.token_id)
            try:
                chunk = sequence.output.push(choice.token_id, choice.logprob)
            except Exception as error:  # noqa: BLE001 - a tokenizer's own code may raise anything
                self._end(generation, self._explain(error, emitted=True))
                continue
            self._outbox.put(generation, chunk)
            if sequence.output.finished:
                self._scheduler.finish(sequence)
                generation.sequences.remove(sequence)
                if not generation.sequences:
                    self._end(generation, None)

    def _fail(self, works: Items[Work], error: Exception) -> None:
        """Fail the one request that made a step fail, and let the others go on."""
        if len(works) > 1 and not isinstance(error, torch.AcceleratorError):
            # It may be memory that was missing, and its frames hold what there was.
            traceback.clear_frames(error.__traceback__)
            for work in works:
                if work.sequence.row is not None:
                    self._advance([work])
            return
        for work in works:
            self._end(work.sequence.owner, self._explain(error, emitted=True))

    def _generate(self, generation: RunningGeneration) -> None:
        """Run one request through ``generate``, and the batch beside it."""
        if generation.cancelled:
            self._end(generation, None)
            return
        generation.started_at = time.monotonic()
        emitted = False

        def emit(chunk: Chunk) -> None:
            nonlocal emitted
            emitted = True
            self._outbox.put(generation, chunk)
            self._outbox.send()

        def each_token() -> None:
            if generation.cancelled or self._closed:
                raise CancelledGenerationError
            self._step()

        outcome: ApiError | None = None
        try:
            generate_static(
                self._loaded, generation.request, emit=emit, each_token=each_token
            )
        except CancelledGenerationError:
            pass
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a model raises
            outcome = self._explain(error, emitted=emitted)
        self._end(generation, outcome)
        self._outbox.send()

    def _end(self, generation: RunningGeneration, outcome: ApiError | None) -> None:
        """Take a request out, with what is left of it, and tell who waits for it."""
        if self._scheduler is not None:
            for sequence in generation.sequences:
                self._scheduler.drop(sequence)
        generation.sequences = []
        if generation.started_at is not None:
            seconds = time.monotonic() - generation.started_at
            self._typical_seconds += (seconds - self._typical_seconds) / 8
        with self._changed:
            self._open.discard(generation)
        # Last: whoever has seen the end finds the place free.
        self._outbox.put(generation, outcome)

    def _explain(self, error: Exception, *, emitted: bool) -> ApiError:
        if isinstance(error, ApiError):
            return error
        if isinstance(error, ValueError) and not emitted:
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


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
