"""What a worker does with the outcome of a reconcile."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import REGISTRY
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from pykaito.operator.errors import (
    ConflictError,
    ServerError,
    TerminalError,
    UnavailableError,
)
from pykaito.operator.reconcile import Request, Result
from pykaito.operator.worker import Worker
from pykaito.operator.workqueue import WorkQueue
from tests.unit.operator.virtual_time import VirtualClock, settle

pytestmark = pytest.mark.virtual_time

Behaviour = Callable[[Request], Awaitable[Result | None]]


class Bench:
    """One worker and one reconciler; the test says what reconciling does."""

    def __init__(
        self, behaviour: Behaviour, name: str, *, timeout: float = 120
    ) -> None:
        self.name = name
        self.request = Request(name, "default", "a")
        self.queue = WorkQueue[Request](VirtualClock())
        self.times: list[float] = []
        self.held = False
        self._behaviour = behaviour
        worker = Worker(
            self.queue,
            {name: self},
            VirtualClock(),
            timeout=timeout,
            held=lambda _: self.held,
        )
        self.task = asyncio.create_task(worker.run())

    async def reconcile(self, request: Request) -> Result | None:
        self.times.append(asyncio.get_running_loop().time())
        return await self._behaviour(request)

    def pauses(self) -> list[float]:
        return [b - a for a, b in zip(self.times, self.times[1:], strict=False)]

    def count(self, metric: str, **labels: str) -> float:
        labels |= {"controller": self.name}
        return REGISTRY.get_sample_value(metric, labels) or 0.0

    async def end(self) -> None:
        assert await self.queue.drain(1)
        await asyncio.wait_for(self.task, 1)


async def succeed(_: Request) -> None:
    return None


def fail(error: BaseException) -> Behaviour:
    async def behaviour(_: Request) -> None:
        raise error

    return behaviour


def first(error: Exception, times: int) -> Behaviour:
    """Fail a number of times, then succeed."""
    left = times

    async def behaviour(_: Request) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error

    return behaviour


async def test_success_waits_for_the_next_event() -> None:
    bench = Bench(succeed, "success")
    bench.queue.add(bench.request)
    await asyncio.sleep(10_000)
    assert len(bench.times) == 1
    assert bench.count("controller_runtime_reconcile_total", result="success") == 1
    assert bench.count("controller_runtime_reconcile_time_seconds_count") == 1
    await bench.end()


async def test_requeue_after_reconciles_again_at_that_time() -> None:
    async def behaviour(_: Request) -> Result:
        return Result(requeue_after=30)

    bench = Bench(behaviour, "again")
    bench.queue.add(bench.request)
    await asyncio.sleep(100)
    assert bench.pauses() == pytest.approx([30, 30, 30])
    outcome = bench.count("controller_runtime_reconcile_total", result="requeue_after")
    assert outcome == 4
    await bench.end()


@pytest.mark.parametrize(
    "error", [ServerError("later", status=500), UnavailableError("no answer")]
)
async def test_failures_back_off_and_success_forgets_them(error: Exception) -> None:
    bench = Bench(first(error, 4), f"backoff-{type(error).__name__}")
    bench.queue.add(bench.request)
    await asyncio.sleep(10)
    assert bench.pauses() == pytest.approx([0.005, 0.01, 0.02, 0.04], abs=1e-4)
    assert bench.queue.num_requeues(bench.request) == 0
    assert bench.count("controller_runtime_reconcile_errors_total") == 4
    assert bench.count("controller_runtime_reconcile_panics_total") == 0
    await bench.end()


async def test_a_conflict_is_tried_again_and_is_no_error() -> None:
    bench = Bench(first(ConflictError("changed", status=409), 2), "conflict")
    bench.queue.add(bench.request)
    with capture_logs() as logs:
        await asyncio.sleep(10)
    assert bench.pauses() == pytest.approx([0.005, 0.01], abs=1e-4)
    assert {entry["log_level"] for entry in logs} == {"info"}
    assert bench.count("controller_runtime_reconcile_errors_total") == 0
    assert bench.count("controller_runtime_reconcile_total", result="requeue") == 2
    await bench.end()


async def test_requeue_after_forgets_earlier_failures() -> None:
    outcomes = iter([ConflictError("x"), ConflictError("x"), None])

    async def behaviour(_: Request) -> Result | None:
        error = next(outcomes)
        if error is not None:
            raise error
        return Result(requeue_after=1000)

    bench = Bench(behaviour, "forgetful")
    bench.queue.add(bench.request)
    await asyncio.sleep(10)
    assert bench.queue.num_requeues(bench.request) == 0
    await bench.end()


async def test_a_bug_in_a_reconciler_is_counted_logged_and_retried() -> None:
    bench = Bench(first(KeyError("spec"), 1), "bug")
    with capture_logs() as logs:
        bench.queue.add(bench.request)
        await asyncio.sleep(1)
    assert len(bench.times) == 2
    assert bench.count("controller_runtime_reconcile_panics_total") == 1
    assert bench.count("controller_runtime_reconcile_errors_total") == 1
    (log,) = logs
    assert isinstance(log["exc_info"], KeyError)
    await bench.end()


async def test_a_terminal_error_is_counted_and_not_retried() -> None:
    bench = Bench(fail(TerminalError("unknown preset")), "terminal")
    bench.queue.add(bench.request)
    await asyncio.sleep(10_000)
    assert len(bench.times) == 1
    assert bench.count("controller_runtime_terminal_reconcile_errors_total") == 1
    assert bench.count("controller_runtime_reconcile_errors_total") == 1
    bench.queue.add(bench.request)
    await settle()
    assert len(bench.times) == 2
    await bench.end()


async def test_errors_of_a_task_group_count_as_what_they_are() -> None:
    group = ExceptionGroup("two", [TerminalError("a"), TerminalError("b")])
    bench = Bench(fail(group), "group")
    bench.queue.add(bench.request)
    await asyncio.sleep(100)
    assert bench.count("controller_runtime_terminal_reconcile_errors_total") == 1
    await bench.end()


async def test_a_task_group_with_one_retriable_error_is_retried() -> None:
    group = ExceptionGroup("two", [TerminalError("a"), ConflictError("b")])
    bench = Bench(first(group, 1), "mixed")
    bench.queue.add(bench.request)
    await asyncio.sleep(100)
    assert len(bench.times) == 2
    await bench.end()


async def test_a_reconcile_that_hangs_is_cut_off_counted_and_retried() -> None:
    cancelled = []

    async def behaviour(_: Request) -> None:
        try:
            await asyncio.sleep(10_000)
        except asyncio.CancelledError:
            cancelled.append(asyncio.get_running_loop().time())
            raise

    bench = Bench(behaviour, "hang", timeout=120)
    bench.queue.add(bench.request)
    await asyncio.sleep(121)
    assert cancelled == [pytest.approx(bench.times[0] + 120)]
    assert bench.count("controller_runtime_reconcile_timeouts_total") == 1
    assert bench.pauses() == [pytest.approx(120.005, abs=1e-4)]
    bench.task.cancel()


async def test_a_timeout_of_the_reconcilers_own_is_an_ordinary_failure() -> None:
    bench = Bench(first(TimeoutError("registry"), 1), "own-timeout")
    bench.queue.add(bench.request)
    await asyncio.sleep(1)
    assert len(bench.times) == 2
    assert bench.count("controller_runtime_reconcile_timeouts_total") == 0
    await bench.end()


async def test_a_cancellation_from_within_does_not_end_the_worker() -> None:
    bench = Bench(fail(asyncio.CancelledError()), "cancel")
    bench.queue.add(bench.request)
    await asyncio.sleep(0.1)
    assert not bench.task.done()
    assert bench.count("controller_runtime_reconcile_errors_total") >= 2
    await bench.end()


async def test_cancelling_the_worker_ends_it_and_its_reconcile() -> None:
    async def behaviour(_: Request) -> None:
        await asyncio.sleep(50)

    bench = Bench(behaviour, "cut")
    bench.queue.add(bench.request)
    await asyncio.sleep(1)
    active = "controller_runtime_active_workers"
    assert bench.count(active) == 1
    bench.task.cancel()
    await asyncio.wait({bench.task})
    assert bench.task.cancelled()
    assert bench.count(active) == 0
    assert await bench.queue.drain(0)


async def test_a_held_request_waits_without_being_counted_as_failed() -> None:
    bench = Bench(succeed, "held")
    bench.held = True
    bench.queue.add(bench.request)
    await asyncio.sleep(1)
    assert bench.times == []
    bench.held = False
    await asyncio.sleep(0.05)
    assert len(bench.times) == 1
    assert bench.queue.num_requeues(bench.request) == 0
    assert bench.count("controller_runtime_reconcile_total", result="success") == 1
    await bench.end()


async def test_logs_of_a_reconcile_know_whose_they_are() -> None:
    seen = []

    async def behaviour(_: Request) -> None:
        seen.append(get_contextvars())

    bench = Bench(behaviour, "known")
    bench.queue.add(bench.request)
    await asyncio.sleep(1)
    bench.queue.add(bench.request)
    await asyncio.sleep(1)
    ids = [context.pop("reconcile_id") for context in seen]
    assert seen == [{"controller": "known", "namespace": "default", "name": "a"}] * 2
    assert ids[0] != ids[1]
    await bench.end()


@pytest.mark.parametrize("after", [0, -1, float("nan"), float("inf")])
def test_a_requeue_that_means_nothing_is_refused(after: float) -> None:
    with pytest.raises(ValueError, match="finite number of seconds above 0, got"):
        Result(requeue_after=after)
