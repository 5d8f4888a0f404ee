"""A cluster in memory with one of the two provisioners on it, on virtual time."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from pykaito.operator.cache import Cache
from pykaito.operator.errors import ApiError, NotFoundError
from pykaito.operator.objects import (
    EVENTS,
    NODES,
    Key,
    Object,
    ObjectList,
    Resource,
    labels,
)
from pykaito.provisioners.karpenter.objects import GROUP, NODE_CLAIMS
from pykaito.provisioners.protocol import Context, Observation, Provisioner
from pykaito.reconcilers.resources import MACHINES
from tests.unit.operator.virtual_time import VirtualClock, settle
from tests.unit.provisioners.karpenter.machines import (
    INSTANCE,
    machine,
    node,
    raw_machine,
    warning,
)
from tests.unit.reconcilers.cluster_api import ClusterApi

KEY = Key("team-a", "phi-1a2b3c4d")
FINALIZER = "karpenter.sh/termination"
#: What the watches need to tell of a change.
MOMENT = 0.5


class Api(ClusterApi):
    """Also finds by the value of a label."""

    async def list(
        self, resource: Resource, *, label_selector: str = "", **selection: Any
    ) -> ObjectList:
        label, _, value = label_selector.partition("=")
        listed = await super().list(resource, label_selector=label, **selection)
        items = [o for o in listed.items if not value or labels(o)[label] == value]
        return ObjectList(items, listed.resource_version)


class KarpenterWorld:
    """What a test does to the cluster in Karpenter's place, and what it sees."""

    def __init__(self, make: Callable[[Context], Provisioner], name: str) -> None:
        self.api = Api()
        self.machine = machine(provisioner=name)
        self._raw = raw_machine(provisioner=name)
        self._make = make
        self.noted: list[tuple[Key, str]] = []
        self.woken: set[Key] = set()

    @contextlib.asynccontextmanager
    async def operator(self, *, machine: bool = True) -> AsyncIterator[Provisioner]:
        """Run the provisioner, from its start to its end."""
        if machine and not self.api.stored(MACHINES):
            await self.api.create(MACHINES, self._raw)
        clock, rng = VirtualClock(), random.Random(1)  # noqa: S311 - jitter
        cache = Cache(self.api, clock, rng)
        provisioner = self._make(
            Context(
                client=self.api,  # type: ignore[arg-type] # its verbs
                cache=cache,
                machines=cache.informer(MACHINES),
                clock=clock,
                wake=self.woken.add,
                note=lambda key, _, obj: self.noted.append(
                    (key, obj["metadata"]["name"])
                ),
                environ={},
            )
        )
        for watch in provisioner.watches:
            watch.informer.add_handler(_Wakes(watch.machines, self.woken))
        running = asyncio.create_task(cache.run())
        try:
            await cache.wait_synced(30)
            yield provisioner
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def without_karpenter(self, missing: bool = True) -> None:
        """Take Karpenter's CRDs away, or bring them."""

        def fault(_: str, resource: Resource) -> ApiError | None:
            gone = missing and resource.group == GROUP
            return NotFoundError("404 page not found", status=404) if gone else None

        self.api.fault = fault

    def stored(self, resource: Resource, name: str = INSTANCE) -> Any:
        return self.api.find(resource, name, "")

    async def moment(self) -> None:
        await asyncio.sleep(MOMENT)
        await settle()

    async def take_up(self, resource: Resource = NODE_CLAIMS) -> None:
        """Set the finalizer, as Karpenter does before anything else."""
        await self.edit(resource, {"metadata": {"finalizers": [FINALIZER]}})

    async def edit(
        self, resource: Resource, patch: Object, name: str = INSTANCE
    ) -> None:
        await self.api.patch(resource, name, patch)
        await self.moment()

    async def tell(
        self,
        conditions: Any,
        resource: Resource = NODE_CLAIMS,
        name: str = INSTANCE,
        **status: Any,
    ) -> None:
        """Write a status."""
        patch = {"status": {"conditions": conditions, **status}}
        await self.api.patch(resource, name, patch, subresource="status")
        await self.moment()

    async def delete(
        self, resource: Resource = NODE_CLAIMS, name: str = INSTANCE
    ) -> None:
        await self.api.delete(resource, name)
        await self.moment()

    async def finish(
        self, resource: Resource = NODE_CLAIMS, name: str = INSTANCE
    ) -> None:
        """Take the finalizer off."""
        await self.edit(resource, {"metadata": {"finalizers": None}}, name)

    async def warn(self, claim: Any, reason: str, note: str) -> None:
        await self.api.create(EVENTS, warning(claim, reason, note))

    async def join(self, name: str = "gpu-0", **options: Any) -> None:
        await self.api.create(NODES, node(name, **options))
        await self.moment()

    def calls(self, verb: str, plural: str) -> int:
        return self.api.calls.count((verb, plural))


class _Wakes:
    def __init__(self, machines: Any, woken: set[Key]) -> None:
        self._machines = machines
        self._woken = woken

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        del initial
        for side in (old, new):
            if side is not None:
                self._woken.update(self._machines(side))


async def failed(provisioner: Provisioner, world: KarpenterWorld) -> Observation:
    """Observe until it is known why the instance went, as a reconciler does."""
    seen = await provisioner.observe(world.machine)
    while seen.failure is None:
        assert seen.exists
        assert seen.look_again is not None
        await asyncio.sleep(seen.look_again)
        seen = await provisioner.observe(world.machine)
    return seen
