"""The three verbs for Machines that are agent pools."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import final

import structlog

from pykaito.api import labels
from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.objects import NODES, Key, Object, key
from pykaito.operator.objects import labels as labels_of
from pykaito.provisioners.azure_arm.cloud import PoolExistsError
from pykaito.provisioners.azure_arm.identity import Identity
from pykaito.provisioners.azure_arm.observation import absent, observe, unknown
from pykaito.provisioners.azure_arm.poller import Poller, is_served
from pykaito.provisioners.azure_arm.pool import DELETING, Pool, owner
from pykaito.provisioners.azure_arm.pools import Pools
from pykaito.provisioners.azure_arm.request import body, check
from pykaito.provisioners.azure_arm.session import Connect, Session, connect
from pykaito.provisioners.azure_arm.settings import Target, kind_of, read_target
from pykaito.provisioners.azure_arm.sweeper import Sweeper
from pykaito.provisioners.errors import (
    InProgressError,
    LaunchError,
    NotConfiguredError,
    ProvisionError,
)
from pykaito.provisioners.names import AZURE_ARM
from pykaito.provisioners.naming import (
    INSTANCE_INDEX,
    by_instance,
    instance_name,
    key_of,
)
from pykaito.provisioners.node_checks import check_initialized
from pykaito.provisioners.protocol import Context, Observation, Provisioner, Watch

SOON_SECONDS = 10.0
NODE_INDEX = "azure_arm.instance"

_log = structlog.stdlib.get_logger(__name__)


def node_instance(node: Object) -> Iterable[str]:
    """Index nodes by the pool that they are of."""
    found = labels_of(node).get(labels.MACHINE)
    return (found,) if found else ()


@final
class AzureArm(Provisioner):
    """Makes an agent pool of one node for each Machine.

    Args:
        context: see `Context`; its environment is read by `settings`.
        connect: how Azure is reached.
    """

    name = AZURE_ARM
    makes_nodes = True

    def __init__(self, context: Context, connect: Connect = connect) -> None:
        self._context = context
        self._environ = context.environ
        self._clock = context.clock
        self._nodes = context.cache.informer(NODES)
        self._nodes.store.add_index(NODE_INDEX, node_instance)
        machines = context.machines
        machines.store.add_index(INSTANCE_INDEX, by_instance)
        self._pools = Pools()
        self._identity = Identity(context.client)
        self._session = Session(self._target, context.clock, connect)
        self._poller = Poller(
            self._session,
            self._pools,
            self._identity,
            Sweeper(self._session, context.client, machines, context.clock),
            machines,
            context.clock,
            context.wake,
            configured=self._misconfigured() is None,
        )
        machines.add_handler(self._poller)

    @property
    def watches(self) -> Sequence[Watch]:
        """Nodes wake the Machine that their label names; pools do by the poller."""
        return (Watch(self._nodes, self._machines_of),)

    def check(self, machine: Machine) -> Sequence[str]:
        """Hold a Machine against what agent pools can be."""
        return check(machine, kind_of(self._environ))

    async def run(self) -> None:
        """Follow the cluster's pools."""
        await self._poller.run()

    async def launch(self, machine: Machine) -> None:
        """Ask for the pool; one of that name that there is stays as it is."""
        name = instance_name(key_of(machine))
        about = f"agent pool {name!r}"
        target = self._target()
        cluster = await self._identity.get()
        wanted = body(machine, target, cluster, self._clock.now())
        try:
            pool = await self._session.send(about, lambda to: to.create(name, wanted))
        except PoolExistsError:
            found = await self._look_up(name)
            if found is None:
                why = f"{about} went away while it was looked at"
                raise InProgressError(why, retry_after=SOON_SECONDS) from None
            pool = found
        except InProgressError:
            # What is in progress may be the create that was asked for before.
            found = await self._look_up(name)
            if found is None:
                raise
            pool = found
        else:
            self._wrote(name, pool)
        await self._check_own(machine, pool, cluster)

    async def observe(self, machine: Machine) -> Observation:
        """Say how far the pool and its node are, from what is known."""
        at = key_of(machine)
        name = instance_name(at)
        node = self._node(name)
        if not self._pools.is_known(name) or not self._identity.known:
            return unknown(machine, name, node, self._trouble())
        pool = self._pools.get(name)
        if pool is None or owner(pool, self._identity.known) != at:
            return absent(name)
        return observe(machine, pool, node)

    async def release(self, machine: Machine) -> bool:
        """Ask for the pool's end; it is given back once Azure knows none any more."""
        if machine.status.launch_time is None and self._misconfigured() is not None:
            return True
        at = key_of(machine)
        name = instance_name(at)
        cluster = await self._identity.get()
        pool = await self._look_up(name)
        if pool is None:
            return True
        if owner(pool, cluster) != at:
            _log.warning("an agent pool is left alone: it is not ours", pool=name)
            return True
        await self._delete(pool)
        return False

    async def _delete(self, pool: Pool) -> None:
        if pool.deleting:
            return
        about = f"agent pool {pool.name!r}"
        try:
            await self._session.send(about, lambda to: to.delete(pool))
        except InProgressError:
            # An answer that got lost may have been that of a delete.
            found = await self._look_up(pool.name)
            if found is not None and not found.deleting:
                raise
        else:
            self._wrote(pool.name, replace(pool, state=DELETING))

    async def _check_own(self, machine: Machine, pool: Pool, cluster: str) -> None:
        """Hold a pool of the right name against the Machine.

        Raises:
            ProvisionError: it is not this Machine's, or is not what it asks for.
        """
        about = f"agent pool {pool.name!r}"
        whose = owner(pool, cluster)
        if whose != key_of(machine):
            belongs = (
                f"belongs to Machine {whose}" if whose else "is not this operator's"
            )
            raise LaunchError(
                f"{about} exists and {belongs}; delete it if nobody needs it, or this "
                "Machine, which then comes back under another name"
            )
        size = machine.spec.instance_type or ""
        if pool.size.casefold() != size.casefold():
            await self._delete(pool)
        if pool.deleting or pool.size.casefold() != size.casefold():
            why = f"{about} is left from before and is being deleted"
            raise InProgressError(why, retry_after=SOON_SECONDS)

    async def _look_up(self, name: str) -> Pool | None:
        pool = await self._session.send(f"agent pool {name!r}", lambda to: to.get(name))
        self._wrote(name, pool)
        return pool

    def _wrote(self, name: str, pool: Pool | None) -> None:
        self._pools.wrote(name, pool, self._clock.monotonic())
        self._poller.poke()

    def _target(self) -> Target:
        return read_target(self._environ)

    def _misconfigured(self) -> NotConfiguredError | None:
        try:
            self._target()
        except NotConfiguredError as error:
            return error
        return None

    def _trouble(self) -> ProvisionError | None:
        return self._pools.error or self._misconfigured()

    def _node(self, instance: str) -> Object | None:
        """Return the node of a pool: while it is upgraded there are two for a while."""
        found = self._nodes.store.by_index(NODE_INDEX, instance)
        return max(found, key=lambda node: check_initialized(node, {}).ok, default=None)

    def _machines_of(self, node: Object) -> Iterable[Key]:
        store = self._context.machines.store
        return [
            key(machine)
            for instance in node_instance(node)
            for machine in store.by_index(INSTANCE_INDEX, instance)
            if is_served(machine)
        ]
