"""What both provisioners do alike: ask, find, miss and give back."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog

from pykaito.api import labels
from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    NotFoundError,
)
from pykaito.operator.informer import Informer
from pykaito.operator.objects import EVENTS, NODES, Key, Object, key, name, uid
from pykaito.provisioners.errors import (
    LaunchError,
    NotInstalledError,
    ProvisionError,
)
from pykaito.provisioners.karpenter.failures import failure, last_warning
from pykaito.provisioners.karpenter.limits import check_machine
from pykaito.provisioners.karpenter.manifests import instance_type
from pykaito.provisioners.karpenter.objects import (
    NODE_CLAIMS,
    condition,
    instance_of,
    is_leaving,
    is_of,
    is_true,
    owner,
)
from pykaito.provisioners.karpenter.progress import (
    AWAITING,
    LAUNCHED,
    REGISTERED,
    nothing,
    observe_claim,
)
from pykaito.provisioners.karpenter.settings import Settings, read_settings
from pykaito.provisioners.karpenter.wanted import Entry, Wanted
from pykaito.provisioners.naming import (
    INSTANCE_INDEX,
    by_instance,
    instance_name,
    key_of,
)
from pykaito.provisioners.protocol import Context, Observation, Provisioner, Watch

NOT_INSTALLED_PAUSE = 30.0
"""Seconds until it is tried again whether Karpenter has been installed."""

UNTOLD_PAUSE = 10.0
"""Seconds between looks where no watch tells of a change."""

EVENT_PATIENCE = 3.0
EVENT_PAUSE = 1.0
"""Seconds that the Event which explains a deletion may take to follow it, and between
looks for it."""

#: Where Karpenter writes Events: its kinds live in no namespace.
_EVENTS_NAMESPACE = "default"

_log = structlog.stdlib.get_logger(__name__)


class KarpenterProvisioner(Provisioner):
    """Makes one object of Karpenter's for each Machine.

    Args:
        context: see `Context`.
        made: the informer of the kind that is made.
    """

    makes_nodes = True

    def __init__(self, context: Context, made: Informer) -> None:
        self._context = context
        self._client = context.client
        self._settings: Settings = read_settings(context.environ)
        self._made = made
        self._nodes = context.cache.informer(NODES)
        self._machines = context.machines.store
        self._machines.add_index(INSTANCE_INDEX, by_instance)
        self._wanted = Wanted(self._is_wanted)
        made.add_handler(self._wanted)

    @abstractmethod
    def manifest(self, machine: Machine) -> Object:
        """Return what is made for a Machine; NotConfiguredError as in `Settings`."""

    @abstractmethod
    async def observe_made(self, machine: Machine, made: Object) -> Observation:
        """Say how far the object that was made is."""

    @abstractmethod
    async def explain(self, machine: Machine, entry: Entry) -> ProvisionError | None:
        """Say why the object is going or gone; None while that may yet be told."""

    async def observe_missing(self, machine: Machine) -> Observation:
        """Say what there is where the object is not."""
        what = f"{self._made.resource.kind} {instance_name(key_of(machine))!r}"
        return nothing(f"there is no {what}")

    async def is_nothing_left(self, machine: Machine) -> bool:
        """Whether the server has nothing more, once the object itself is gone."""
        del machine
        return True

    @property
    def watches(self) -> Sequence[Watch]:
        """What was made, and its nodes, wake the Machine that their label names."""
        informers = (self._made, self._nodes)
        return tuple(Watch(informer, self._machines_of) for informer in informers)

    def check(self, machine: Machine) -> Sequence[str]:
        """Hold the instance type and the labels against what Karpenter takes."""
        return check_machine(machine, self._settings)

    async def launch(self, machine: Machine) -> None:
        """Create the object, once: Karpenter refuses changes of it."""
        self.check(machine)
        wanted = self.manifest(machine)
        try:
            made = await self._client.create(self._made.resource, wanted)
        except AlreadyExistsError:
            made = await self._client.get(self._made.resource, name(wanted))
            self._check_own(machine, made)
        except NotFoundError as error:
            raise NotInstalledError(
                f"Karpenter's CRDs are not installed: the API server has no "
                f"{self._made.resource}; install Karpenter, or choose another "
                f"provisioner by the annotation {labels.PROVISIONER}",
                retry_after=NOT_INSTALLED_PAUSE,
            ) from error
        self._wanted.put(made)
        self._context.note(key_of(machine), self._made, made)

    def _check_own(self, machine: Machine, made: Object) -> None:
        what = f"{self._made.resource.kind} {name(made)!r}"
        if not is_of(machine, made):
            whose = f"belongs to Machine {owner(made)}" if owner(made) else "is foreign"
            raise LaunchError(
                f"{what} exists and {whose}; delete it if nobody needs it, or this "
                "Machine, which then comes back under another name"
            )
        if is_leaving(made):
            raise LaunchError(
                f"{what} of an earlier try is still being deleted",
                retry_after=UNTOLD_PAUSE,
            )

    async def observe(self, machine: Machine) -> Observation:
        """Say how far it is, from the cache, and from the server where that is behind.

        Events are asked for where something failed, and a missing object is asked for
        once more; all else is cached.
        """
        instance = instance_name(key_of(machine))
        entry = self._wanted.get(instance)
        if entry is not None and not is_of(machine, entry.obj):
            entry = None
        made = await self._find(machine, entry)
        if made is None:
            seen = await self.observe_missing(machine)
        else:
            seen = await self.observe_made(machine, made)
        gone = entry is not None and (made is None or is_leaving(made))
        if entry is not None and gone:
            if entry.failure is None:
                entry.failure = await self.explain(machine, entry)
            waits = entry.failure is None
            seen = replace(
                seen,
                exists=seen.exists or waits,
                failure=entry.failure,
                look_again=EVENT_PAUSE if waits else None,
            )
        if seen.exists and seen.look_again is None and not self._made.has_synced:
            seen = replace(seen, look_again=UNTOLD_PAUSE)
        return seen

    async def release(self, machine: Machine) -> bool:
        """Delete the object; say whether the server has nothing of it any more."""
        instance = instance_name(key_of(machine))
        self._wanted.forget(instance)
        # The cache may be behind, or empty because Karpenter was never installed.
        made = await self._get(instance)
        if made is not None and not is_of(machine, made):
            _log.info(
                "not deleted: made for another Machine",
                kind=self._made.resource.kind,
                name=instance,
                owner=owner(made),
            )
            return True
        if made is not None and not is_leaving(made):
            try:
                await self._client.delete(self._made.resource, instance, uid=uid(made))
            except ConflictError:
                return False  # made anew meanwhile, and its watch tells of it
            except NotFoundError:
                pass
            # Karpenter's finalizer keeps it, unless Karpenter never saw it.
            made = await self._get(instance)
        return made is None and await self.is_nothing_left(machine)

    async def _find(self, machine: Machine, entry: Entry | None) -> Object | None:
        instance = instance_name(key_of(machine))
        made = self._made.store.get(Key("", instance))
        # What was made and is missed may not be in the cache yet.
        if not self._made.has_synced or (made is None and entry is not None):
            made = await self._get(instance)
        return made if made is not None and is_of(machine, made) else None

    async def _get(self, instance: str) -> Object | None:
        try:
            return await self._client.get(self._made.resource, instance)
        except NotFoundError:
            return None

    def _is_wanted(self, instance: str) -> bool:
        return bool(self._machines.by_index(INSTANCE_INDEX, instance))

    def _machines_of(self, obj: Object) -> Iterable[Key]:
        instance = instance_of(obj)
        return [key(m) for m in self._machines.by_index(INSTANCE_INDEX, instance)]

    def _observe_claim(self, machine: Machine, claim: Object) -> Observation:
        node_name = (claim.get("status") or {}).get("nodeName", "")
        node = self._nodes.store.get(Key("", node_name))
        return observe_claim(machine, claim, node, self._settings)

    async def _explain_claim(
        self, machine: Machine, entry: Entry
    ) -> ProvisionError | None:
        """Say why a NodeClaim is going or gone; None while that may yet be told."""
        claim = entry.obj
        launched = condition(claim, LAUNCHED)
        was_launched = is_true(claim, LAUNCHED)
        what = "gave up" if was_launched else "could not launch"
        what += f" {instance_type(machine)} as NodeClaim {name(claim)!r}"
        if not was_launched and launched.get("reason", AWAITING) != AWAITING:
            return failure(what, launched["reason"], launched.get("message", ""))
        warned = last_warning(await self._events(claim), claim)
        if warned is not None:
            return failure(what, warned.reason, warned.message)
        now = self._context.clock.monotonic()
        if entry.missed is None:
            entry.missed = now
        if now - entry.missed < EVENT_PATIENCE:
            return None
        return self._untold(claim)

    def _untold(self, claim: Object) -> ProvisionError:
        """Return the failure of a NodeClaim that went without a word."""
        what = f"NodeClaim {name(claim)!r}"
        if is_true(claim, REGISTERED):
            node = (claim.get("status") or {}).get("nodeName", "")
            return LaunchError(
                f"{what} was deleted, and node {node!r} with it: by a person, or by "
                "Karpenter because the machine is gone or had to go"
            )
        if is_true(claim, LAUNCHED):
            return LaunchError(
                f"{what} was deleted before its machine joined the cluster; Karpenter "
                "waits a quarter of an hour for that"
            )
        ref = claim["spec"]["nodeClassRef"]
        return LaunchError(
            f"{what} was deleted before it was launched, and nothing says why; see "
            f"whether node class {ref['name']!r} ({ref['kind']}.{ref['group']}) is "
            "Ready, and Karpenter's log"
        )

    async def _events(self, claim: Object) -> Sequence[Object]:
        """Return the Warnings about a NodeClaim; none where they cannot be had."""
        selector = f"regarding.uid={uid(claim)},type=Warning"
        try:
            found = await self._client.list(
                EVENTS, namespace=_EVENTS_NAMESPACE, field_selector=selector
            )
        except ApiError as error:
            _log.info("cannot list Events", claim=name(claim), error=str(error))
            return ()
        return found.items


def claims_informer(context: Context) -> Informer:
    """Return the informer of the NodeClaims that belong to Machines."""
    return context.cache.informer(
        NODE_CLAIMS, label_selector=labels.MACHINE, optional=True
    )
