"""A NodePool of one node for each Machine.

The operator says that there has to be a node, and Karpenter keeps it there: it makes
another one where a NodeClaim fails, and replaces one that drifted from its node class.
Karpenter's feature gate StaticCapacity has to be on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import final

from pykaito.api import labels
from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.errors import NotFoundError
from pykaito.operator.objects import Object, name, uid
from pykaito.provisioners.errors import LaunchError, ProvisionError, words
from pykaito.provisioners.karpenter.base import (
    EVENT_PAUSE,
    KarpenterProvisioner,
    claims_informer,
)
from pykaito.provisioners.karpenter.failures import classify
from pykaito.provisioners.karpenter.manifests import node_pool
from pykaito.provisioners.karpenter.objects import (
    NODE_CLAIMS,
    NODE_POOLS,
    condition,
    instance_of,
    is_leaving,
    is_of,
    is_true,
)
from pykaito.provisioners.karpenter.progress import (
    INITIALIZED,
    LAUNCHED,
    REGISTERED,
    nothing,
)
from pykaito.provisioners.karpenter.wanted import Entry, Wanted
from pykaito.provisioners.names import KARPENTER_NODEPOOL
from pykaito.provisioners.naming import INSTANCE_INDEX, instance_name, key_of
from pykaito.provisioners.protocol import Context, Observation, Watch

READY = "Ready"
#: What keeps a NodePool from being Ready.
DEPENDENTS = ("NodeClassReady", "ValidationSucceeded")


class NodePools(KarpenterProvisioner):
    """Has Karpenter keep a node for a NodePool."""

    name = KARPENTER_NODEPOOL

    def __init__(self, context: Context) -> None:
        pools = context.cache.informer(
            NODE_POOLS, label_selector=labels.MACHINE, optional=True
        )
        super().__init__(context, pools)
        self._claims = claims_informer(context)
        self._claims.store.add_index(INSTANCE_INDEX, by_label)
        self._failed = FailedClaims(self._wanted)
        self._claims.add_handler(self._failed)

    @property
    def watches(self) -> Sequence[Watch]:
        """NodePools, their NodeClaims and nodes wake the Machine."""
        return (*super().watches, Watch(self._claims, self._machines_of))

    def manifest(self, machine: Machine) -> Object:
        """Return the NodePool."""
        return node_pool(machine, self._settings)

    async def observe_made(self, machine: Machine, made: Object) -> Observation:
        """Fold the conditions of the NodeClaim that is furthest, and its node."""
        claim = furthest(await self._claims_of(machine))
        if claim is not None and is_true(claim, LAUNCHED):
            seen = self._observe_claim(machine, claim)
        elif (last := await self._last_failed(machine)) and last.failure:
            told = f"{last.failure}; Karpenter tries again"
            seen = nothing(told, str(last.failure.reason))
        else:
            seen = (
                self._observe_claim(machine, claim) if claim else without_claims(made)
            )
            if last:
                # Nothing tells of the Event that will say why.
                seen = replace(seen, look_again=EVENT_PAUSE)
        return replace(seen, exists=True, instance=name(made))

    async def observe_missing(self, machine: Machine) -> Observation:
        """Show what the NodePool has left behind."""
        claim = furthest(await self._claims_of(machine))
        if claim is None:
            return await super().observe_missing(machine)
        return self._observe_claim(machine, claim)

    async def explain(self, machine: Machine, entry: Entry) -> ProvisionError | None:
        """Say that somebody deleted the NodePool; Karpenter never does."""
        del machine
        return LaunchError(
            f"NodePool {name(entry.obj)!r} was deleted, and its node goes with it; "
            "delete the Machine to give a node back"
        )

    async def release(self, machine: Machine) -> bool:
        """Delete the NodePool; its NodeClaims go with it."""
        self._failed.forget(instance_name(key_of(machine)))
        return await super().release(machine)

    async def is_nothing_left(self, machine: Machine) -> bool:
        """Whether all NodeClaims are gone as well, as the server says."""
        return not await self._listed(machine)

    async def _claims_of(self, machine: Machine) -> Sequence[Object]:
        if not self._claims.has_synced:
            return await self._listed(machine)
        instance = instance_name(key_of(machine))
        found = self._claims.store.by_index(INSTANCE_INDEX, instance)
        return [claim for claim in found if is_of(machine, claim)]

    async def _listed(self, machine: Machine) -> Sequence[Object]:
        selector = f"{labels.MACHINE}={instance_name(key_of(machine))}"
        try:
            found = await self._client.list(NODE_CLAIMS, label_selector=selector)
        except NotFoundError:
            return ()
        return [claim for claim in found.items if is_of(machine, claim)]

    async def _last_failed(self, machine: Machine) -> Entry | None:
        """Return the last NodeClaim that went before it was launched, if one did.

        It has no failure as long as that may yet be told.
        """
        entry = self._failed.get(instance_name(key_of(machine)))
        if entry is not None and entry.failure is None:
            entry.failure = await self._explain_claim(machine, entry)
        return entry


@final
class FailedClaims:
    """The last NodeClaim of each NodePool that went before it was launched.

    Karpenter makes the next one at once, and that one knows nothing of the last.
    """

    def __init__(self, pools: Wanted) -> None:
        self._pools = pools
        self._entries: dict[str, Entry] = {}

    def get(self, instance: str) -> Entry | None:
        """Return the last one, None where none failed since one was launched."""
        return self._entries.get(instance)

    def forget(self, instance: str) -> None:
        """Drop what is known of an instance that is given back."""
        self._entries.pop(instance, None)

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        """Take a change of a NodeClaim; see `EventHandler`."""
        del initial
        claim = new or old
        if claim is None or self._pools.get(instance_of(claim)) is None:
            return
        instance = instance_of(claim)
        if is_true(claim, LAUNCHED):
            self.forget(instance)
        elif new is None or is_leaving(claim):
            known = self._entries.get(instance)
            if known is None or uid(known.obj) != uid(claim):
                self._entries[instance] = Entry(claim)


def by_label(obj: Object) -> Iterable[str]:
    """Index objects by the instance that they belong to."""
    return (instance_of(obj),)


def furthest(claims: Iterable[Object]) -> Object | None:
    """Return the NodeClaim that serves the Machine: the one nearest to a node.

    There are two while Karpenter replaces one: the old until the new one is
    initialized and the old one leaves.
    """
    return min(claims, key=_rank, default=None)


def _rank(claim: Object) -> tuple[object, ...]:
    steps = (INITIALIZED, REGISTERED, LAUNCHED)
    done = tuple(not is_true(claim, step) for step in steps)
    created = str(claim["metadata"].get("creationTimestamp", ""))
    return (is_leaving(claim), *done, created, name(claim))


def without_claims(pool: Object) -> Observation:
    """Say why a NodePool may have no NodeClaim."""
    what = f"NodePool {name(pool)!r}"
    ready = condition(pool, READY)
    if not ready:
        return nothing(
            f"Karpenter has not looked at {what} yet; if it does not, see whether it "
            "runs, and serves the group of the node class"
        )
    if ready["status"] == "True":
        return nothing(
            f"{what} is Ready and has no NodeClaim yet; Karpenter makes one where its "
            "feature gate StaticCapacity is on"
        )
    # Ready itself only names the conditions that it waits for.
    waited_for = (condition(pool, kind) for kind in DEPENDENTS)
    told = next((c for c in waited_for if c.get("status") == "False"), None)
    if told is None:
        return nothing(f"Karpenter has not accepted {what} yet")
    message = words(told.get("message") or told["reason"])
    meaning = classify(told["reason"], message)
    return nothing(f"{what} is not Ready: {message}", str(meaning.reason))
