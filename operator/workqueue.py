"""The work queue: what is to be reconciled, each item once, one at a time.

An item is in at most one of three places, besides being processed:

- *ready*: handed to the next worker, higher priority first, then oldest first;
- *delayed*: becomes ready at a deadline;
- *again*: added while it was being processed; ready as soon as that is done.

Adding an item that is already there only moves it forward: to the higher of
the two priorities and the earlier of the two times. So any number of events
between two reconciles cost one reconcile, and none of them is lost. Everything
runs on one event loop; nothing here is thread-safe.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar, final

from pykaito.operator.backoff import ItemBackoff
from pykaito.operator.clock import Clock
from pykaito.operator.workqueue_metrics import WorkQueueMetrics

ItemT = TypeVar("ItemT", bound=Hashable)

# While both priorities wait, one item in this many is of low priority, so that
# a steady stream of live events cannot starve the initial list for ever.
_LOW_TURN = 16


class Priority(IntEnum):
    """Which items go first."""

    LOW = 0
    """What nobody waits for: the initial list, relists and resyncs."""

    NORMAL = 1
    """Live events."""


class ShutDown(Exception):  # noqa: N818 -- not an error: it ends a worker's loop
    """Raised by `get` once the queue is shut down."""


@dataclass(slots=True)
class _Delayed:
    timer: asyncio.TimerHandle
    priority: Priority


@dataclass(slots=True)
class _Processing:
    since: float
    priority: Priority


@final
class WorkQueue(Generic[ItemT]):
    """A priority queue with deduplication, delays and per-item backoff.

    Args:
        clock: time; its monotonic reading is the event loop's.
        controller_of: the controller an item belongs to, a metrics label.
        backoff: the delays of `add_rate_limited`.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        controller_of: Callable[[ItemT], str] = lambda _: "",
        backoff: ItemBackoff[ItemT] | None = None,
    ) -> None:
        self._clock = clock
        self._backoff = backoff or ItemBackoff[ItemT]()
        self._ready: dict[Priority, OrderedDict[ItemT, float]] = {
            priority: OrderedDict() for priority in Priority
        }
        self._delayed: dict[ItemT, _Delayed] = {}
        self._processing: dict[ItemT, _Processing] = {}
        self._again: dict[ItemT, Priority] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._normal_turns = 0
        self._shut_down = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._metrics = WorkQueueMetrics(controller_of, clock)

    def __len__(self) -> int:
        """Return how many items a worker could be handed now."""
        return sum(len(items) for items in self._ready.values())

    def add(self, item: ItemT, *, priority: Priority = Priority.NORMAL) -> None:
        """Make the item ready, or ready again once its processing is done.

        A delayed add of the same item is thereby fulfilled. Ignored after
        `shut_down`.
        """
        if self._shut_down:
            return
        delayed = self._delayed.pop(item, None)
        if delayed is not None:
            delayed.timer.cancel()
            priority = max(priority, delayed.priority)
        if item in self._processing:
            if item not in self._again:
                self._metrics.added(item)
            self._again[item] = max(priority, self._again.get(item, priority))
        else:
            self._make_ready(item, priority)

    def add_after(
        self, item: ItemT, delay: float, *, priority: Priority | None = None
    ) -> None:
        """Add the item in `delay` seconds, unless it is due earlier anyway.

        Args:
            item: what to add.
            delay: seconds from now; 0 or less adds it at once.
            priority: by default the priority the item is being processed
                with, else NORMAL.
        """
        if self._shut_down:
            return
        if priority is None:
            running = self._processing.get(item)
            priority = running.priority if running else Priority.NORMAL
        if (
            delay <= 0
            or item in self._again
            or self._priority_if_ready(item) is not None
        ):
            self.add(item, priority=priority)
            return
        loop = asyncio.get_running_loop()
        deadline = self._clock.monotonic() + delay
        delayed = self._delayed.get(item)
        if delayed is not None:
            priority = max(priority, delayed.priority)
            if delayed.timer.when() <= deadline:
                delayed.priority = priority
                return
            delayed.timer.cancel()
        timer = loop.call_at(deadline, self._due, item)
        self._delayed[item] = _Delayed(timer, priority)

    def add_rate_limited(
        self, item: ItemT, *, priority: Priority | None = None
    ) -> None:
        """Add the item after its backoff, which grows with each failure."""
        self._metrics.retried(item)
        self.add_after(item, self._backoff.next_delay(item), priority=priority)

    def forget(self, item: ItemT) -> None:
        """Reset the item's backoff: it succeeded, or is given up."""
        self._backoff.forget(item)

    def num_requeues(self, item: ItemT) -> int:
        """Return how often the item failed since it was last forgotten."""
        return self._backoff.failures(item)

    async def get(self) -> ItemT:
        """Wait for an item and take it; the caller must call `done` with it.

        Safe to cancel: an item is never taken by a cancelled call.

        Raises:
            ShutDown: the queue is shut down; the worker should end.
        """
        while not self._shut_down:
            if len(self):
                return self._take()
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter in self._getters:
                    self._getters.remove(getter)
                elif not getter.cancelled():
                    self._wake_one()  # it was woken for an item it will not take
                raise
        raise ShutDown

    def done(self, item: ItemT) -> None:
        """Say that the item taken by `get` is processed.

        Raises:
            ValueError: the item is not being processed.
        """
        running = self._processing.pop(item, None)
        if running is None:
            raise ValueError(f"{item!r} is not being processed")
        self._metrics.finished(item)
        if not self._processing:
            self._idle.set()
        again = self._again.pop(item, None)
        if again is not None:
            self._make_ready(item, again, counted=True)

    def shut_down(self) -> None:
        """Take no more items and hand out none: what is being done is the last.

        What was still waiting is dropped. It is state, not messages: the next
        process finds it again in its initial list.
        """
        self._shut_down = True
        for delayed in self._delayed.values():
            delayed.timer.cancel()
        self._delayed.clear()
        self._again.clear()
        for priority, items in self._ready.items():
            while items:
                item, _ = items.popitem()
                self._metrics.dropped(item, priority)
        while self._getters:
            self._wake_one()

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 -- reports, not raises
        """Shut down and wait until nothing is being processed.

        Returns:
            False when something still was after `timeout` seconds.
        """
        self.shut_down()
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _priority_if_ready(self, item: ItemT) -> Priority | None:
        return next((p for p in Priority if item in self._ready[p]), None)

    def _make_ready(
        self, item: ItemT, priority: Priority, *, counted: bool = False
    ) -> None:
        before = self._priority_if_ready(item)
        if before is None:
            self._ready[priority][item] = self._clock.monotonic()
            self._metrics.ready(item, priority, counted=counted)
            self._wake_one()
        elif before < priority:
            # It keeps the time it was added at, for the time spent waiting,
            # but goes behind what waits at the higher priority already.
            self._ready[priority][item] = self._ready[before].pop(item)
            self._metrics.promoted(item, before, priority)

    def _due(self, item: ItemT) -> None:
        self.add(item, priority=self._delayed[item].priority)

    def _take(self) -> ItemT:
        low, normal = self._ready[Priority.LOW], self._ready[Priority.NORMAL]
        take_low = bool(low) and (not normal or self._normal_turns >= _LOW_TURN - 1)
        priority = Priority.LOW if take_low else Priority.NORMAL
        # Turns count only while somebody of low priority waits for one.
        self._normal_turns = self._normal_turns + 1 if low and not take_low else 0
        item, added = self._ready[priority].popitem(last=False)
        now = self._clock.monotonic()
        self._processing[item] = _Processing(now, priority)
        self._idle.clear()
        self._metrics.taken(item, priority, waited=now - added)
        return item

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
