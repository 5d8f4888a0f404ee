"""Time as a dependency, so that tests run on a clock of their own.

Two readings with two purposes: `now` is what people and other machines read
(timestamps in objects), `monotonic` is what decisions are made on (deadlines,
leases, ages), because a wall clock can be set back.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol, final


class Clock(Protocol):
    """What the operator asks about time."""

    def now(self) -> datetime:
        """Return the wall-clock time, timezone-aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never runs backwards.

        It is the clock of the running event loop, so that a deadline computed
        from it can be handed to `asyncio.timeout_at` and `loop.call_at`.
        """

    async def sleep(self, seconds: float) -> None:
        """Wait at least that many seconds; cancellable."""


@final
class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the monotonic time, which asyncio's own loops use as well."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait at least that many seconds."""
        await asyncio.sleep(seconds)


def microtime(moment: datetime) -> str:
    """Format a time as Kubernetes' MicroTime: RFC 3339, UTC, microseconds.

    Raises:
        ValueError: the time has no timezone, so its instant is unknown.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no timezone; pass a time in UTC")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
