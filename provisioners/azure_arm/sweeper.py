"""Deletes the pools that nobody wants any more; `orphans` says which."""

from collections.abc import Iterable
from operator import methodcaller
from typing import final

import structlog

from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.errors import ApiError, NotFoundError
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, key
from pykaito.provisioners.azure_arm.orphans import (
    SWEEP_SECONDS,
    is_old,
    unclaimed,
)
from pykaito.provisioners.azure_arm.pool import Pool
from pykaito.provisioners.azure_arm.session import Session
from pykaito.provisioners.errors import ProvisionError

_log = structlog.stdlib.get_logger(__name__)


@final
class Sweeper:
    """Looks for orphans after each list, not more often than is of use."""

    def __init__(
        self, session: Session, client: Client, machines: Informer, clock: Clock
    ) -> None:
        self._session = session
        self._client = client
        self._machines = machines
        self._clock = clock
        self._suspects: frozenset[str] = frozenset()
        self._last: float | None = None

    async def sweep(self, pools: Iterable[Pool], cluster: str) -> None:
        """Delete the orphans among the pools that were just listed.

        Args:
            pools: all pools of the cluster.
            cluster: what tells this Kubernetes cluster from all others.
        """
        now = self._clock.monotonic()
        if self._last is not None and now - self._last < SWEEP_SECONDS:
            return
        self._last = now
        listed = {pool.name: pool for pool in pools}
        known = map(key, self._machines.store.list())
        owners = unclaimed(listed.values(), cluster, known)
        orphans = {name: of for name, of in owners.items() if await self._is_gone(of)}
        due = [
            listed[name]
            for name in orphans
            if name in self._suspects and is_old(listed[name], self._clock.now())
        ]
        self._suspects = frozenset(orphans)
        if due:
            await self._delete(due, orphans)

    async def _is_gone(self, machine: Key) -> bool:
        """Look a Machine up where it cannot be out of date."""
        try:
            await self._client.get(
                self._machines.resource, machine.name, machine.namespace
            )
        except NotFoundError:
            return True
        except ApiError as error:
            _log.warning("cannot look a Machine up", of=str(machine), error=str(error))
        return False

    async def _delete(self, due: Iterable[Pool], owners: dict[str, Key]) -> None:
        try:
            if await self._session.send("the cluster", lambda to: to.is_stopped()):
                return
            for pool in due:
                _log.warning(
                    "deleting an agent pool whose Machine is gone",
                    pool=pool.name,
                    size=pool.size,
                    of=str(owners[pool.name]),
                )
                about = f"agent pool {pool.name!r}"
                await self._session.send(about, methodcaller("delete", pool))
        except ProvisionError as error:
            _log.warning("cannot delete agent pools", error=str(error))
