"""A worker: takes requests off the queue, reconciles, and acts on the outcome.

| outcome of a reconcile      | backoff   | next                        |
|-----------------------------|-----------|-----------------------------|
| None                        | forgotten | waits for an event          |
| Result(requeue_after=s)     | forgotten | again in s seconds          |
| TerminalError               | forgotten | waits for an event          |
| ConflictError               | grows     | again after the backoff; no |
|                             |           | error, somebody was faster  |
| any other error, or timeout | grows     | again after the backoff     |
| not begun: a write is not   | as it was | again as soon as the cache  |
| in the cache yet            |           | has it                      |
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import final

import structlog
from structlog.contextvars import bound_contextvars

from pykaito.operator import metrics
from pykaito.operator.clock import Clock
from pykaito.operator.errors import (
    ApiError,
    ConflictError,
    TerminalError,
    UnavailableError,
)
from pykaito.operator.leader import NotLeaderError
from pykaito.operator.reconcile import Reconciler, Request, Result
from pykaito.operator.workqueue import ShutDown, WorkQueue

_log = structlog.stdlib.get_logger(__name__)

# How often a request that waits for the cache is looked at, in seconds. A watch
# event usually takes a few milliseconds.
_HOLD_PERIOD = 0.02

_EXPECTED = (ApiError, NotLeaderError, UnavailableError)


class ReconcileTimeoutError(Exception):
    """A reconcile outlasted its deadline."""


class InterruptedReconcileError(Exception):
    """A reconcile was cancelled by something inside it."""


@final
class Worker:
    """Processes requests, one at a time in each `run`, of which there may be many.

    Args:
        queue: where requests come from and go back to.
        reconcilers: by the name in `Request.controller`.
        clock: time.
        timeout: how long one reconcile may take, in seconds.
        held: whether a request must wait because the cache has not seen yet
            what its last reconcile wrote.
    """

    def __init__(
        self,
        queue: WorkQueue[Request],
        reconcilers: Mapping[str, Reconciler],
        clock: Clock,
        *,
        timeout: float,
        held: Callable[[Request], bool],
    ) -> None:
        self._queue = queue
        self._reconcilers = reconcilers
        self._clock = clock
        self._timeout = timeout
        self._held = held
        # Held for a turn of the event loop, in which one reconcile begins at most.
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Process requests until the queue is shut down."""
        while True:
            # A reconcile that finds nothing to do never waits. A long queue of such
            # would keep all else from running, the renewal of the lease too.
            async with self._turn:
                await asyncio.sleep(0)
            try:
                request = await self._queue.get()
            except ShutDown:
                return
            try:
                if self._held(request):
                    self._queue.add_after(request, _HOLD_PERIOD)
                else:
                    await self._process(request)
            finally:
                self._queue.done(request)

    async def _process(self, request: Request) -> None:
        name = request.controller
        began = self._clock.monotonic()
        with (
            bound_contextvars(
                controller=name,
                namespace=request.namespace,
                name=request.name,
                reconcile_id=str(uuid.uuid4()),
            ),
            metrics.ACTIVE_WORKERS.labels(name).track_inprogress(),
        ):
            try:
                outcome = await self._reconcile(request)
                result = self._follow_up(request, outcome)
            finally:
                metrics.RECONCILE_TIME.labels(name).observe(
                    self._clock.monotonic() - began
                )
            metrics.RECONCILE_TOTAL.labels(name, result).inc()

    async def _reconcile(self, request: Request) -> Result | Exception | None:
        """Call the reconciler; what it raises is returned.

        Raises:
            asyncio.CancelledError: this worker itself is being cancelled.
        """
        reconciler = self._reconcilers[request.controller]
        try:
            async with asyncio.timeout(self._timeout) as deadline:
                return await reconciler.reconcile(request)
        except TimeoutError as error:
            if not deadline.expired():
                return error
            return ReconcileTimeoutError(f"not done within {self._timeout:g} s")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return InterruptedReconcileError("cancelled from within")
        except Exception as error:  # noqa: BLE001 -- no reconciler may end the worker
            return error

    def _follow_up(self, request: Request, outcome: Result | Exception | None) -> str:
        """Decide what comes next; return the metrics' name of the outcome."""
        match outcome:
            case None | Result(requeue_after=None):
                self._queue.forget(request)
                return "success"
            case Result(requeue_after=float() | int() as delay):
                self._queue.forget(request)
                self._queue.add_after(request, delay)
                return "requeue_after"
            case Exception() if _is_all(outcome, ConflictError):
                self._queue.add_rate_limited(request)
                _log.info("changed meanwhile, trying again", error=str(outcome))
                return "requeue"
            case Exception() if _is_all(outcome, TerminalError):
                metrics.TERMINAL_RECONCILE_ERRORS.labels(request.controller).inc()
                self._queue.forget(request)
                _log.warning("reconcile failed for good", error=str(outcome))
            case ReconcileTimeoutError():
                metrics.RECONCILE_TIMEOUTS.labels(request.controller).inc()
                self._queue.add_rate_limited(request)
                _log.error("reconcile timed out", error=str(outcome))
            case Exception() if _is_all(outcome, _EXPECTED):
                self._queue.add_rate_limited(request)
                _log.warning("reconcile failed", error=str(outcome))
            case Exception():
                metrics.RECONCILE_PANICS.labels(request.controller).inc()
                self._queue.add_rate_limited(request)
                _log.error("reconcile broke", exc_info=outcome)
        metrics.RECONCILE_ERRORS.labels(request.controller).inc()
        return "error"


def _is_all(
    error: Exception, kinds: type[Exception] | tuple[type[Exception], ...]
) -> bool:
    """Return whether the error, or each in a task group's, is of these kinds."""
    if isinstance(error, ExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)
