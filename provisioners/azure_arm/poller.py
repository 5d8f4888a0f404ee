"""Lists the cluster's pools for all Machines, and wakes those whose pool changed."""

import asyncio
from collections.abc import Callable, Iterable
from typing import final

import structlog

from pykaito.api.v1alpha1.machine import MachinePhase
from pykaito.operator.backoff import exponential
from pykaito.operator.clock import Clock
from pykaito.operator.errors import ApiError
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object, key
from pykaito.provisioners.azure_arm.identity import Identity
from pykaito.provisioners.azure_arm.pools import Pools
from pykaito.provisioners.azure_arm.session import Session
from pykaito.provisioners.azure_arm.sweeper import Sweeper
from pykaito.provisioners.errors import ProvisionError, UnreachableError
from pykaito.provisioners.names import AZURE_ARM
from pykaito.provisioners.naming import INSTANCE_INDEX, instance_name

POLL_SECONDS = 5.0
IDLE_SECONDS = 300.0
"""Seconds between lists: five while a pool is on its way, else five minutes."""

_log = structlog.stdlib.get_logger(__name__)


def is_served(machine: Object) -> bool:
    """Whether a Machine's node is an agent pool."""
    return bool(machine["spec"]["provisioner"] == AZURE_ARM)


@final
class Poller:
    """Keeps `Pools` up to date.

    Where the operator is not told of a cluster it asks Azure nothing before there is a
    Machine, which is then told what is missing. Where it is told, pools may be left
    from an operator before.
    """

    def __init__(
        self,
        session: Session,
        pools: Pools,
        identity: Identity,
        sweeper: Sweeper,
        machines: Informer,
        clock: Clock,
        wake: Callable[[Key], None],
        *,
        configured: bool,
    ) -> None:
        self._session = session
        self._pools = pools
        self._identity = identity
        self._sweeper = sweeper
        self._machines = machines
        self._clock = clock
        self._wake = wake
        self._configured = configured
        self._poked = asyncio.Event()
        self._failures = 0

    def poke(self) -> None:
        """Look again whether a list is due: a Machine or a pool changed."""
        self._poked.set()

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        """Hear of Machines."""
        del initial
        if is_served(new or old or {"spec": {"provisioner": ""}}):
            self.poke()

    async def run(self) -> None:
        """List until cancelled."""
        try:
            while True:
                # Once it was asked for a pool it has to look for orphans as well.
                while not (self._configured or self._pools.known or self._serves()):
                    await self._next_poke()
                began = self._clock.monotonic()
                await self._refresh()
                await self._until_due(began)
        finally:
            await self._session.close()

    async def _refresh(self) -> None:
        known, serial = self._pools.known, self._pools.begin()
        try:
            cluster = await self._identity.get()
            listed = await self._session.send("agent pools", lambda to: to.list())
        except (ProvisionError, ApiError) as error:
            self._failed(
                error
                if isinstance(error, ProvisionError)
                else UnreachableError(f"the API server: {error}")
            )
            return
        self._failures = 0
        changed = self._pools.replace(serial, listed, self._clock.monotonic())
        if known:
            self._wake_those(
                machine
                for name in changed
                for machine in self._machines.store.by_index(INSTANCE_INDEX, name)
            )
        else:
            self._wake_those(self._machines.store.list())
        await self._sweeper.sweep(self._pools.list(), cluster)

    def _failed(self, error: ProvisionError) -> None:
        before, self._pools.error = self._pools.error, error
        self._failures += 1
        if before is None or before.reason != error.reason:
            _log.warning("cannot list agent pools", error=str(error))
            self._wake_those(filter(self._is_under_way, self._machines.store.list()))

    def _wake_those(self, machines: Iterable[Object]) -> None:
        for machine in list(machines):
            if is_served(machine):
                self._wake(key(machine))

    async def _until_due(self, began: float) -> None:
        """Wait until the next list is due; a poke may bring it nearer."""
        while (pause := began + self._pause() - self._clock.monotonic()) > 0:
            try:
                async with asyncio.timeout(pause):
                    await self._next_poke()
            except TimeoutError:
                return

    async def _next_poke(self) -> None:
        self._poked.clear()
        await self._poked.wait()

    def _pause(self) -> float:
        error = self._pools.error
        if error is not None:
            pause = exponential(
                self._failures - 1, base=POLL_SECONDS, ceiling=IDLE_SECONDS
            )
            return max(pause, error.retry_after or 0.0)
        on_its_way = any(map(self._is_under_way, self._machines.store.list()))
        return POLL_SECONDS if on_its_way else IDLE_SECONDS

    def _serves(self) -> bool:
        return any(map(is_served, self._machines.store.list()))

    def _is_under_way(self, machine: Object) -> bool:
        """Whether a Machine waits for something that only Azure can tell."""
        if not is_served(machine):
            return False
        if machine["metadata"].get("deletionTimestamp"):
            return True
        pool = self._pools.get(instance_name(key(machine)))
        status = machine.get("status") or {}
        if pool is None:
            return "launchTime" in status
        return pool.busy or status.get("phase") == MachinePhase.REPLACING
