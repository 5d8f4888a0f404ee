"""An asyncio event loop whose clock jumps to the next timer when nothing runs.

A test that waits an hour takes milliseconds and is exact to the microsecond.
The loop owns no real time: a test on it must not do real network I/O or use
threads, since the loop would jump over the wait for them.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, final

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class DeadlockError(Exception):
    """Every task waits and no timer is set: the test would hang for ever."""


class _JumpingSelector(selectors.SelectSelector):
    """Polls the file descriptors, then spends the wait in virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise DeadlockError("every task waits and no timer is set")
        self.elapsed += max(0.0, timeout)
        return ready


@final
class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time; it starts at second 1000."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # Sums of floats miss a deadline by less than this.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return 1000.0 + self._jumping.elapsed

    def spend(self, seconds: float) -> None:
        """Block the loop: time passes and nothing else runs."""
        self._jumping.elapsed += seconds


@final
class VirtualClock:
    """A Clock on the running loop's time.

    Args:
        wall_skew: how far this process's wall clock is off, in seconds.
    """

    def __init__(self, *, wall_skew: float = 0.0) -> None:
        self.wall_skew = wall_skew

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic() + self.wall_skew)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a fresh virtual loop, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


async def settle() -> None:
    """Let everything that can run now run, without any time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]],
    *,
    within: float = 60.0,
    step: float = 0.05,
) -> float:
    """Wait until a condition holds; return the seconds it took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while True:
        outcome = condition()
        if isinstance(outcome, Awaitable):
            outcome = await outcome
        if outcome:
            return loop.time() - start
        if loop.time() - start >= within:
            raise AssertionError(f"condition did not hold within {within} s")
        await asyncio.sleep(step)
