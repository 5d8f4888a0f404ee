"""What a provisioner is: the one thing that knows where nodes come from.

The ``machine`` reconciler drives it with three verbs, each idempotent by the
Machine's name and safe to repeat after a crash: ``launch`` asks for the node,
``observe`` says how far it is, ``release`` gives it back. None of them waits:
progress arrives through the watches that ``watches`` names, and a verb that
cannot finish now returns what is missing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.cache import Cache
from pykaito.operator.client import Client
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object


class MachineReason(StrEnum):
    """Why a Machine is not ready, or that it is, as one word."""

    PREPARED = "Prepared"
    REGISTERED = "Registered"
    INITIALIZED = "Initialized"
    READY = "Ready"
    PROVISIONER_NOT_FOUND = "ProvisionerNotFound"
    NODE_NOT_FOUND = "NodeNotFound"
    LABEL_MISMATCH = "LabelMismatch"
    NODE_NOT_READY = "NodeNotReady"
    NOT_REGISTERED = "NotRegistered"
    RESOURCE_MISSING = "ResourceMissing"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a Machine as a provisioner sees it now.

    ``message`` is a sentence for people that says what was found and what would
    be right. A provisioner from elsewhere may bring reasons of its own.
    """

    ok: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """How far a Machine is, in the three steps that Karpenter names.

    ``launched``: the node was asked for and given. ``registered``: its Node
    object exists and is the one meant. ``initialized``: it is Ready and offers
    the resources that were asked for.
    """

    launched: Check
    registered: Check
    initialized: Check
    node_name: str = ""
    provider_id: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """A kind whose changes concern Machines, and which Machines they concern."""

    informer: Informer
    machines: Callable[[Object], Iterable[Key]]


@dataclass(frozen=True, slots=True)
class Context:
    """What a provisioner is built from."""

    client: Client
    cache: Cache
    machines: Informer = field(repr=False)


class Provisioner(Protocol):
    """Launches, observes and releases the nodes of Machines."""

    #: The value of ``spec.provisioner`` that it answers to.
    name: str

    @property
    def watches(self) -> Sequence[Watch]:
        """The watches that wake the Machines it serves."""

    async def launch(self, machine: Machine) -> None:
        """Ask for the node unless that was done; must not ask twice."""

    async def observe(self, machine: Machine) -> Observation:
        """Say how far the node is, from the cache."""

    async def release(self, machine: Machine) -> bool:
        """Give the node back; say whether that is done."""
