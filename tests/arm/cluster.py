"""A cluster's agent pools: what there is, and which operations are under way."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pykaito.operator.clock import Clock
from tests.arm import refusals
from tests.arm.faults import Ends
from tests.arm.refusals import Refusal, RefusedError
from tests.arm.shapes import check_aks, check_arc

Kind = Literal["aks", "arc"]

CREATE_SECONDS = 180.0
DELETE_SECONDS = 90.0
SPOT_KEY = "kubernetes.azure.com/scalesetpriority"


@dataclass
class Pool:
    """An agent pool as it is stored."""

    name: str
    properties: dict[str, Any]
    tags: dict[str, str]
    created_at: datetime
    state: str = "Creating"
    power: str = "Running"
    etag: str = ""
    error: Refusal | None = None

    @property
    def busy(self) -> bool:
        return self.state in {"Creating", "Updating", "Deleting"}

    @property
    def labels(self) -> dict[str, str]:
        return self.properties.get("nodeLabels") or {}


@dataclass
class Operation:
    """A long-running operation, as its own resource tells it."""

    name: str
    pool: str
    doing: str
    ends: Ends
    started_at: datetime
    status: Literal["InProgress", "Succeeded", "Failed"] = "InProgress"


Hook = Callable[["Cluster", Pool], Awaitable[None]]


async def _nothing(_cluster: "Cluster", _pool: Pool) -> None:
    """Bring no Node."""


@dataclass
class Cluster:
    """One AKS cluster, or one AKS Arc cluster, and what its pools went through.

    Attributes:
        id: its resource ID; that of the connected cluster for Arc.
        one_at_a_time: whether one pool's operation refuses those of the others.
        unavailable: VM sizes that the subscription cannot have.
        quota: how many more nodes of a VM size there may be; none named, no limit.
        on_pool_ready: called when a pool's node joins; brings the Node object.
        on_pool_gone: called when it leaves.
        births: how often each pool was created, over all time.
    """

    id: str
    clock: Clock
    kind: Kind = "aks"
    location: str = "westeurope"
    one_at_a_time: bool = False
    unavailable: set[str] = field(default_factory=set)
    quota: dict[str, int] = field(default_factory=dict)
    on_pool_ready: Hook = _nothing
    on_pool_gone: Hook = _nothing
    stopped: bool = False
    pools: dict[str, Pool] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    births: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._serial = itertools.count(1)
        self._running: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return self.id.rsplit("/", 1)[-1]

    def get(self, name: str) -> Pool:
        if name not in self.pools:
            path = f"provisionedClusterInstances/default/agentPools/{name}"
            raise RefusedError(
                refusals.resource_not_found(path)
                if self.kind == "arc"
                else refusals.pool_not_found(name)
            )
        return self.pools[name]

    def list(self) -> Iterable[Pool]:
        return [self.pools[name] for name in sorted(self.pools)]

    def put(
        self, name: str, body: dict[str, Any], ends: Ends, *, only_new: bool, etag: str
    ) -> tuple[Pool, Operation]:
        """Begin to create a pool, or to update the one there is."""
        (check_aks if self.kind == "aks" else check_arc)(name, body)
        there = self.pools.get(name)
        if (there and only_new) or (etag and etag != getattr(there, "etag", "")):
            raise RefusedError(refusals.precondition_failed())
        self._admit(there)
        # Of Arc's own shape, tags are the resource's; AKS has them in properties.
        wanted = dict(body.get("properties") or {})
        tags = dict(body.get("tags") or wanted.pop("tags", None) or {})
        if there is None:
            self._afford(wanted["vmSize"])
            there = Pool(name, _completed(wanted), tags, self.clock.now())
            self.pools[name] = there
            self.births[name] += 1
            state = "Creating"
        else:
            if wanted["vmSize"] != there.properties["vmSize"]:
                why = "it cannot be changed"
                raise RefusedError(refusals.invalid("agentPoolProfile.vmSize", why))
            there.properties, there.tags = _completed(wanted), tags
            state = "Updating"
        self._turn(there, state)
        return there, self._begin(there, ends, CREATE_SECONDS)

    def delete(self, name: str, ends: Ends, *, etag: str) -> Operation | None:
        """Begin to delete a pool; None when there is none."""
        there = self.pools.get(name)
        if there is None:
            return None
        if etag not in {"", there.etag}:
            raise RefusedError(refusals.precondition_failed())
        self._admit(there)
        self._turn(there, "Deleting")
        return self._begin(there, ends, DELETE_SECONDS)

    async def stop(self) -> None:
        """Stop the cluster: its nodes go, its pools stay."""
        self.stopped = True
        for pool in self.pools.values():
            pool.power = "Stopped"
            await self.on_pool_gone(self, pool)

    async def start(self) -> None:
        """Start the cluster again: the nodes of its pools come back."""
        self.stopped = False
        for pool in self.pools.values():
            pool.power = "Running"
            if pool.state == "Succeeded":
                await self.on_pool_ready(self, pool)

    async def close(self) -> None:
        """Give up the operations under way.

        Raises:
            Exception: a hook failed, by its error.
        """
        for task in self._running:
            task.cancel()
        for outcome in await asyncio.gather(*self._running, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def _admit(self, there: Pool | None) -> None:
        if self.stopped:
            raise RefusedError(refusals.cluster_stopped())
        others = self.pools.values() if self.one_at_a_time else ()
        for pool in (*([there] if there else ()), *others):
            if pool.busy:
                busy = refusals.in_progress(f"{pool.name} - {pool.state}")
                raise RefusedError(busy)

    def _afford(self, size: str) -> None:
        if size in self.unavailable:
            raise RefusedError(refusals.sku_not_available())
        taken = [p for p in self.pools.values() if p.properties["vmSize"] == size]
        if size in self.quota and len(taken) >= self.quota[size]:
            raise RefusedError(refusals.quota_exceeded())

    def _turn(self, pool: Pool, state: str) -> None:
        pool.state = state
        pool.error = None
        pool.etag = f"{self.name}-{next(self._serial)}"

    def _begin(self, pool: Pool, ends: Ends, usual: float) -> Operation:
        name = f"op-{next(self._serial)}"
        operation = Operation(name, pool.name, pool.state, ends, self.clock.now())
        self.operations[operation.name] = operation
        seconds = usual if ends.seconds is None else ends.seconds
        task = asyncio.create_task(self._run(pool, operation, seconds))
        self._running.add(task)
        return operation

    async def _run(self, pool: Pool, operation: Operation, seconds: float) -> None:
        await self.clock.sleep(seconds)
        failure = operation.ends.failure
        operation.status = "Failed" if failure else "Succeeded"
        if failure and operation.ends.vanishes:
            del self.pools[pool.name]
        elif failure:
            self._turn(pool, "Failed")
            pool.error = failure
        elif operation.doing == "Deleting":
            del self.pools[pool.name]
            await self.on_pool_gone(self, pool)
        else:
            self._turn(pool, "Succeeded")
            await self.on_pool_ready(self, pool)


def _completed(properties: dict[str, Any]) -> dict[str, Any]:
    """Return a pool's properties with what AKS adds to those of spot pools."""
    if properties.get("scaleSetPriority") != "Spot":
        return properties
    labels = {**(properties.get("nodeLabels") or {}), SPOT_KEY: "spot"}
    taints = [*(properties.get("nodeTaints") or ()), f"{SPOT_KEY}=spot:NoSchedule"]
    return {**properties, "nodeLabels": labels, "nodeTaints": taints}
