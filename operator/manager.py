"""The manager: starts everything in order, and stops it in the reverse order.

    1. services   HTTP servers first: probes answer from the start, webhooks
                  serve on every replica
    2. caches     every replica keeps them warm, so that a takeover is quick
    3. lease      one replica goes on, the others wait here
    4. elected    services that write, such as the recorder of events
    5. workers    controllers feed the queue from the caches; reconciles begin

On the way down, workers finish what they are at while the lease is still being
renewed; it is released only when nothing can write any more. A lost lease is
different: nothing may be written, so nothing is finished, and `run` raises.
"""

import asyncio
import contextlib
import random
from typing import Protocol, final

import structlog

from pykaito.operator import metrics
from pykaito.operator.cache import Cache
from pykaito.operator.clock import Clock
from pykaito.operator.controller import Controller
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.guards import Guards, cancel
from pykaito.operator.health import HealthServer, watch_activity
from pykaito.operator.leader import LeaderElection, LeaderElector
from pykaito.operator.metrics import MetricsServer
from pykaito.operator.reconcile import Request
from pykaito.operator.verbs import Verbs
from pykaito.operator.worker import Worker
from pykaito.operator.workqueue import WorkQueue

_log = structlog.stdlib.get_logger(__name__)


class Service(Protocol):
    """Something that runs beside the controllers."""

    async def start(self) -> None:
        """Begin; return when it serves."""

    async def stop(self) -> None:
        """End, within a limited time."""


@final
class Manager:
    """Runs controllers on one shared work queue, as leader if there is an election.

    Args:
        client: writes through it are refused while the lease is not held.
        cache: the informers of all controllers.
        clock: time.
        identity: this process's name in the election, unique among replicas.
        leader_election: which Lease; None to run without an election.
        expectations: a reconcile waits while one of its writes is noted here and
            not in the cache yet.
        rng: the source of jitter.
        workers: reconciles at once, over all controllers.
        reconcile_timeout: how long one reconcile may take, in seconds.
        metrics_port: port of /metrics; 0 for a free one, None for none.
        health_port: port of /healthz and /readyz; 0 and None likewise.
        sync_timeout: how long the first lists may take, in seconds.
        drain_timeout: how long reconciles under way may take at shutdown, in
            seconds; less than the Pod's terminationGracePeriodSeconds.
    """

    def __init__(
        self,
        client: Verbs,
        cache: Cache,
        *,
        clock: Clock,
        identity: str,
        leader_election: LeaderElection | None,
        expectations: WrittenVersions[Request],
        rng: random.Random,
        workers: int = 4,
        reconcile_timeout: float = 120.0,
        metrics_port: int | None = 8080,
        health_port: int | None = 8081,
        sync_timeout: float = 120.0,
        drain_timeout: float = 20.0,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self._client = client
        self._cache = cache
        self._clock = clock
        self._expectations = expectations
        self._workers = workers
        self._reconcile_timeout = reconcile_timeout
        self._sync_timeout = sync_timeout
        self._drain_timeout = drain_timeout
        self._controllers: dict[str, Controller] = {}
        self._services: list[Service] = []
        self._elected: list[Service] = []
        self._queue = WorkQueue[Request](clock, controller_of=lambda r: r.controller)
        self._elector = None
        if leader_election is not None:
            self._elector = LeaderElector(
                client, clock, leader_election, identity=identity, rng=rng
            )
        self.metrics: MetricsServer | None = None
        self.health: HealthServer | None = None
        if metrics_port is not None:
            self.metrics = MetricsServer(metrics_port)
            self._services.append(self.metrics)
        if health_port is not None:
            self.health = HealthServer(health_port, clock)
            self.health.add_ready("caches", self._caches_ready)
            self.health.add_live("watches", watch_activity(self._watch_age))
            self._services.append(self.health)

    def add(self, controller: Controller) -> None:
        """Run a controller, with the others, once elected.

        Raises:
            ValueError: another one has its name.
        """
        if controller.name in self._controllers:
            raise ValueError(f"there are two controllers named {controller.name!r}")
        self._controllers[controller.name] = controller

    def add_service(self, service: Service, *, elected: bool) -> None:
        """Run a service beside the controllers; stopped in the reverse order.

        Args:
            service: what to start and stop.
            elected: whether it writes, so that only the leader may run it.
        """
        (self._elected if elected else self._services).append(service)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then shut down in order.

        Raises:
            LeadershipLostError: the lease was lost; the process must exit.
            TimeoutError: the caches did not fill.
            Exception: whatever ended a cache or kept a service from starting.
        """
        async with contextlib.AsyncExitStack() as stack:
            guards = Guards(stop)
            stack.push_async_callback(guards.close)
            if self._elector is not None:
                self._client.before_write = self._elector.check
            await self._start(self._services, stack)
            cache = guards.run(self._cache.run(), "cache")
            stack.push_async_callback(cancel, cache)
            if not await guards.until(self._cache.wait_synced(self._sync_timeout)):
                return
            if self._elector is not None:
                stack.push_async_callback(self._elector.release)
                if not await guards.until(self._elector.acquire()):
                    return
                renewal = guards.run(self._elector.renew(), "lease renewal")
                stack.push_async_callback(cancel, renewal)
            await self._start(self._elected, stack)
            workers = self._start_workers(guards)
            stack.push_async_callback(self._stop_workers, workers)
            await guards.until_stopped()
            _log.info("shutting down")

    async def _start(
        self, services: list[Service], stack: contextlib.AsyncExitStack
    ) -> None:
        for service in services:
            await service.start()
            stack.push_async_callback(service.stop)

    def _start_workers(self, guards: Guards) -> list[asyncio.Task[None]]:
        reconcilers = {name: c.reconciler for name, c in self._controllers.items()}
        worker = Worker(
            self._queue,
            reconcilers,
            self._clock,
            timeout=self._reconcile_timeout,
            held=self._expectations.pending,
        )
        for name, controller in self._controllers.items():
            metrics.MAX_CONCURRENT_RECONCILES.labels(name).set(self._workers)
            controller.start(self._queue)
        _log.info("reconciling", controllers=sorted(reconcilers))
        return [
            guards.run(worker.run(), f"worker {number}")
            for number in range(self._workers)
        ]

    async def _stop_workers(self, workers: list[asyncio.Task[None]]) -> None:
        leading = self._elector is None or self._elector.is_leader()
        # Without the lease every write is refused: nothing can be finished.
        if not await self._queue.drain(self._drain_timeout if leading else 0):
            _log.warning("reconciles were cut off", leading=leading)
        await cancel(*workers)

    def _caches_ready(self) -> str | None:
        return None if self._cache.has_synced else "not all first lists have arrived"

    def _watch_age(self) -> float:
        return self._clock.monotonic() - self._cache.last_activity
