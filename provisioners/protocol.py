"""What a provisioner is: the one thing that knows where nodes come from.

The ``machine`` reconciler drives it with three verbs, each idempotent by the
Machine's name and safe to repeat after a crash: ``launch`` asks for the instance
that becomes the node, ``observe`` says how far it is, ``release`` gives it back.
None of them waits: progress arrives through the watches that ``watches`` names or
through ``Context.wake``, and a verb that cannot finish now returns what is missing.

When to launch, how long to wait for a node, when to give one up and how long to
pause before the next try is decided by the reconciler, for all provisioners alike. A
provisioner says what is so, and raises what `errors` names.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.cache import Cache
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object
from pykaito.provisioners.errors import ProvisionError


class MachineReason(StrEnum):
    """Why a Machine is not ready, or that it is, as one word.

    What a provisioner says of an instance that it cannot give is in `errors`.
    """

    PREPARED = "Prepared"
    LAUNCHED = "Launched"
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
    #: Whether something is there that ``release`` would give back. Where nothing is,
    #: the reconciler launches; where something was, it has been lost.
    exists: bool = True
    #: What it is called where it was made, such as a NodeClaim; for people.
    instance: str = ""
    #: Why it can never become a node, or why it went; it is given back and another one
    #: is launched after a pause.
    failure: ProvisionError | None = None
    #: Whether somebody stopped it: its node is waited for, however long that takes.
    stopped: bool = False
    #: Seconds until it has to be looked at again, where nothing tells of a change.
    look_again: float | None = None


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
    clock: Clock
    #: Has a Machine reconciled: something outside the cluster changed.
    wake: Callable[[Key], None]
    #: Has a Machine's next reconcile wait until an informer shows what was written.
    note: Callable[[Key, Informer, Object], None]
    #: Environment variables, which are a provisioner's settings.
    environ: Mapping[str, str] = field(repr=False)


class Provisioner(Protocol):
    """Launches, observes and releases the nodes of Machines.

    A class that derives from this one has to have the first five members.
    """

    #: The value of ``spec.provisioner`` that it answers to.
    name: str

    #: Whether it makes nodes for Machines, and somebody pays for them. One that does
    #: not finds nodes that exist, named in ``spec.nodeName``.
    makes_nodes: bool

    async def launch(self, machine: Machine) -> None:
        """Ask for the instance unless that was done; must not ask twice.

        Called when ``observe`` says that nothing exists.

        Raises:
            ProvisionError: there is none, and why.
            ApiError: the API server did not take what was asked of it.
        """

    async def observe(self, machine: Machine) -> Observation:
        """Say how far the node is, from what is known already."""

    async def release(self, machine: Machine) -> bool:
        """Give the instance back; say whether nothing is left of it.

        Called until it says so, each time that something changed.

        Raises:
            ProvisionError: it cannot be given back for now, and why.
            ApiError: the API server did not take what was asked of it.
        """

    @property
    def watches(self) -> Sequence[Watch]:
        """The watches that wake the Machines it serves."""
        return ()

    def check(self, machine: Machine) -> Sequence[str]:
        """Hold a Machine that is about to be made against what can be had.

        Asks nobody: the webhook calls it as well. Returns what is legal and likely
        not meant, as sentences.

        Raises:
            InvalidRequestError: it asks for what cannot be, such as an instance type
                that there is not or a label that only the cloud may set.
        """
        del machine
        return ()

    async def run(self) -> None:
        """Work beside the reconciles until cancelled, such as following a cloud.

        Runs only where this process reconciles. May return at once.
        """
