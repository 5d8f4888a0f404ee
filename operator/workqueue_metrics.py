"""What the work queue tells Prometheus.

One queue serves all controllers, so the labels come from the item: `name` and
`controller` both carry the controller's name, as in controller-runtime.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, TypeVar, final

from prometheus_client import Gauge

from pykaito.operator import metrics
from pykaito.operator.clock import Clock

ItemT = TypeVar("ItemT", bound=Hashable)


@final
class WorkQueueMetrics(Generic[ItemT]):
    """Counts and times the items of one queue.

    The two gauges about work in progress are computed when they are scraped,
    so that a worker that hangs shows a growing value.
    """

    def __init__(self, controller_of: Callable[[ItemT], str], clock: Clock) -> None:
        self._controller_of = controller_of
        self._clock = clock
        self._started: dict[str, dict[ItemT, float]] = defaultdict(dict)

    def added(self, item: ItemT) -> None:
        """Count an add that was not merged into another."""
        metrics.WORKQUEUE_ADDS.labels(*self._labels(item)).inc()

    def ready(self, item: ItemT, priority: IntEnum, *, counted: bool) -> None:
        """Count an item that waits for a worker; `counted`: its add was already."""
        if not counted:
            self.added(item)
        self._depth(item, priority).inc()

    def promoted(self, item: ItemT, before: IntEnum, after: IntEnum) -> None:
        """Move an item from one priority to another."""
        self._depth(item, before).dec()
        self._depth(item, after).inc()

    def dropped(self, item: ItemT, priority: IntEnum) -> None:
        """Uncount an item that no worker will take."""
        self._depth(item, priority).dec()

    def taken(self, item: ItemT, priority: IntEnum, *, waited: float) -> None:
        """Record that a worker took the item after `waited` seconds."""
        labels = self._labels(item)
        self._depth(item, priority).dec()
        metrics.WORKQUEUE_QUEUE_DURATION.labels(*labels).observe(waited)
        controller = labels[0]
        if controller not in self._started:
            self._export_running(controller)
        self._started[controller][item] = self._clock.monotonic()

    def finished(self, item: ItemT) -> None:
        """Record that the worker is done with the item."""
        labels = self._labels(item)
        started = self._started[labels[0]].pop(item)
        metrics.WORKQUEUE_WORK_DURATION.labels(*labels).observe(
            self._clock.monotonic() - started
        )

    def retried(self, item: ItemT) -> None:
        """Count a rate-limited add."""
        metrics.WORKQUEUE_RETRIES.labels(*self._labels(item)).inc()

    def _labels(self, item: ItemT) -> tuple[str, str]:
        controller = self._controller_of(item)
        return controller, controller

    def _depth(self, item: ItemT, priority: IntEnum) -> Gauge:
        return metrics.WORKQUEUE_DEPTH.labels(
            *self._labels(item), priority.name.lower()
        )

    def _export_running(self, controller: str) -> None:
        running = self._started[controller]

        def ages() -> list[float]:
            return [self._clock.monotonic() - start for start in running.values()]

        labels = (controller, controller)
        metrics.WORKQUEUE_UNFINISHED_WORK.labels(*labels).set_function(
            lambda: sum(ages())
        )
        metrics.WORKQUEUE_LONGEST_RUNNING.labels(*labels).set_function(
            lambda: max(ages(), default=0.0)
        )
