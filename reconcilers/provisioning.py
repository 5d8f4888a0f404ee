"""Who makes the nodes of a Workspace, and how many the operator may have made.

Nodes cost money. So none is made unless the operator is told of a provisioner that
does, for all Workspaces or by an annotation for one, and there are limits to how many.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, final

from pykaito.api import labels
from pykaito.api.v1alpha1.machine import Machine
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.cache import Cache
from pykaito.operator.channel import Channel
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.reconcile import Request
from pykaito.provisioners.errors import InvalidRequestError
from pykaito.provisioners.names import PREFERRED_NODES
from pykaito.provisioners.protocol import Context, Provisioner
from pykaito.provisioners.registry import Factory, load_provisioners
from pykaito.reconcilers.machine.lifecycle import Policy
from pykaito.reconcilers.machine.reconciler import MACHINE_CONTROLLER
from pykaito.reconcilers.resources import MACHINES
from pykaito.reconcilers.workspace.makers import maker_of
from pykaito.runtime.presets.annotations import field_of
from pykaito.runtime.presets.plan import PlanError, PlanReason

#: Where a Machine's field comes from in its Workspace, for messages.
FIELDS: Mapping[str, str] = {
    "spec.instanceType": "resource.instanceType",
    "spec.labels": "resource.labelSelector",
    "spec.zones": field_of(labels.ZONES),
    "spec.capacityType": field_of(labels.CAPACITY_TYPE),
    "spec.imageFamily": field_of(labels.NODE_IMAGE_FAMILY),
    "spec.nodeClass": field_of(labels.NODE_CLASS_NAME),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How many nodes may be made; a guard against a bill that nobody meant."""

    per_workspace: int = 8
    in_all: int = 100


@dataclass(frozen=True, slots=True)
class ProvisioningSettings:
    """What the operator is told of making nodes."""

    #: The provisioner of Workspaces that name none.
    default: str = PREFERRED_NODES
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    #: Seconds after which the nodes that were made for a Workspace are given back
    #: when it has failed for good; 0 to keep them.
    keep_failed_seconds: float = 3600.0
    #: Environment variables, which are the settings of the provisioners.
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


@final
class Provisioning:
    """The provisioners that are installed, and what the operator is told of them."""

    def __init__(
        self,
        settings: ProvisioningSettings,
        installed: Mapping[str, Provisioner],
        wake: Channel | None = None,
    ) -> None:
        self.settings = settings
        self.installed = installed
        self.wake = wake or Channel()

    @classmethod
    def install(
        cls,
        settings: ProvisioningSettings,
        *,
        client: Client,
        cache: Cache,
        clock: Clock,
        written: WrittenVersions[Request],
        factories: Iterable[Factory] | None = None,
    ) -> Self:
        """Build the provisioners there are.

        Args:
            settings: what the operator is told.
            client: the API server.
            cache: the informers of all controllers.
            clock: time.
            written: what reconciles wait for.
            factories: make the provisioners; all that are installed by default.

        Raises:
            ValueError: the default one is not among them.
        """
        wake = Channel()
        installed = load_provisioners(
            Context(
                client=client,
                cache=cache,
                machines=cache.informer(MACHINES),
                clock=clock,
                wake=wake.send,
                note=lambda machine, informer, obj: written.note(
                    Request(MACHINE_CONTROLLER, *machine), informer, obj
                ),
                environ=settings.environ,
            ),
            factories,
        )
        if settings.default not in installed:
            raise ValueError(
                f"--provisioner: found {settings.default!r}; installed are "
                f"{', '.join(sorted(installed))}"
            )
        return cls(settings, installed, wake)

    def maker_for(self, workspace: Workspace) -> str | None:
        """Return the provisioner that makes what nodes a Workspace lacks, if any does.

        Raises:
            PlanError: it names one that is not installed, or no type of node.
        """
        named = workspace.metadata.annotations.get(labels.PROVISIONER)
        provisioner = self.installed.get(named or self.settings.default)
        if named and provisioner is None:
            raise PlanError(
                PlanReason.ANNOTATION_INVALID,
                f"{field_of(labels.PROVISIONER)}: found {named!r}; installed are "
                f"{', '.join(sorted(self.installed))}{self._nearest(named)}",
            )
        if provisioner is None or not provisioner.makes_nodes:
            return None
        return maker_of(workspace, self.settings.default)

    def check(self, machine: Machine) -> Sequence[str]:
        """Hold a Machine that is about to be made against what can be had.

        Returns:
            What is legal and likely not meant.

        Raises:
            PlanError: it asks for what cannot be; the Workspace's field is named.
        """
        provisioner = self.installed.get(machine.spec.provisioner)
        if provisioner is None:
            return ()
        try:
            return provisioner.check(machine)
        except InvalidRequestError as error:
            where = FIELDS.get(error.field, error.field)
            reason = (
                PlanReason.INSTANCE_TYPE_UNSUITABLE
                if error.field == "spec.instanceType"
                else PlanReason.NODE_OPTION_INVALID
            )
            raise PlanError(reason, f"{where}: {error}") from None

    def _nearest(self, named: str) -> str:
        near = difflib.get_close_matches(named, self.installed, n=1)
        return f"; did you mean {near[0]!r}?" if near else ""
