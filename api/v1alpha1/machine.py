"""Machine, one node that a Workspace asks for, whichever provisioner serves it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from pykaito.api.meta import ApiModel, Condition, ObjectMeta
from pykaito.api.names import (
    InstanceType,
    LabelKey,
    LabelValue,
    ObjectName,
    are_label_keys,
)
from pykaito.api.schema import (
    LABEL_KEY,
    Int32,
    Int64,
    Matching,
    Quantity,
    Rule,
    list_map,
    rules,
)


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


_Labels = Annotated[
    dict[str, LabelValue],
    Field(
        max_length=64,
        json_schema_extra=rules(
            Rule(
                rule=f"self.all(k, k.matches(r'{LABEL_KEY}'))",
                holds=are_label_keys,
                message="a label's key is a name of at most 63 letters, digits, '-', "
                "'_' and '.', with an optional DNS name and '/' before it",
            )
        ),
    ),
]


class Taint(ApiModel):
    """A mark that keeps other pods off the node."""

    key: LabelKey
    """The taint's key."""

    value: LabelValue = ""
    """The taint's value."""

    effect: TaintEffect
    """What it does to pods that do not tolerate it."""


def _identity(field: str, what: str) -> Rule:
    """Return the rule that a field which says which node this is stays as it is."""
    return Rule(
        rule=f"has(self.{field}) == has(oldSelf.{field}) && "
        f"(!has(self.{field}) || self.{field} == oldSelf.{field})",
        holds=lambda self, old: self.get(field) == old.get(field),
        message=f"{what} of a Machine cannot be changed; delete it and make a new one",
        field_path=f".{field}",
    )


MACHINE_RULES = (
    _identity("instanceType", "the instance type"),
    _identity("nodeName", "the node's name"),
    Rule(
        rule="self.provisioner == oldSelf.provisioner",
        holds=lambda self, old: self["provisioner"] == old["provisioner"],
        message="the provisioner of a Machine cannot be changed; delete it and make a "
        "new one",
        field_path=".provisioner",
    ),
    Rule(
        rule="has(self.instanceType) && self.instanceType != '' || "
        "has(self.nodeName) || has(self.matchLabels) && self.matchLabels.size() > 0",
        holds=lambda self: (
            bool(self.get("instanceType"))
            or "nodeName" in self
            or bool(self.get("matchLabels"))
        ),
        message="say which node: instanceType to have one made, nodeName or "
        "matchLabels to use a prepared one",
    ),
)


class CapacityType(StrEnum):
    """How a cloud lends a machine."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"


class MachineSpec(ApiModel):
    """The node that is wanted.

    What says which node it is (provisioner, instanceType, nodeName) cannot be
    changed. The rest can: a newer operator may ask for other labels or more
    storage, and a Machine that could not take them would block its Workspace.
    A provisioner reads taints and storage once, when it launches the node.
    """

    model_config = ConfigDict(json_schema_extra=rules(*MACHINE_RULES))

    provisioner: Annotated[
        str,
        Field(max_length=63),
        Matching(
            "^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            "be a provisioner name: lower-case letters, digits, - and _",
        ),
    ]
    """Which provisioner serves the Machine, by its registered name. It cannot be
    changed."""

    instance_type: InstanceType | None = None
    """The size of machine to provision, by the cloud's name. It cannot be changed."""

    node_name: ObjectName | None = None
    """The prepared node to use. It cannot be changed."""

    match_labels: _Labels = Field(default_factory=dict)
    """Labels that the node must carry before it is used. A prepared node is never
    labelled by the operator."""

    resources: Annotated[dict[str, Quantity], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Resources that the node must have allocatable, and how much of each, such as
    nvidia.com/gpu: "1"."""

    labels: _Labels = Field(default_factory=dict)
    """Labels to put on a node that is made for this Machine."""

    taints: Annotated[
        tuple[Taint, ...],
        Field(max_length=32, json_schema_extra=list_map("key", "effect")),
    ] = ()
    """Taints to put on a node that is made for this Machine."""

    storage: Quantity | None = None
    """How much disk a node that is made for this Machine needs, such as 100Gi."""

    capacity_type: CapacityType = CapacityType.ON_DEMAND
    """How a node that is made for this Machine is paid for: on-demand, or spot, which
    is cheaper and may be taken away."""

    zones: Annotated[tuple[LabelValue, ...], Field(max_length=16)] = ()
    """The zones in which a node may be made; any where none is named."""

    image_family: Annotated[str, Field(max_length=63)] | None = None
    """The operating system of a node that is made, such as ubuntu or azurelinux; the
    provisioner's default where none is named."""

    node_class: ObjectName | None = None
    """The provisioner's class of nodes, such as Karpenter's; its default where none is
    named."""


class MachinePhase(StrEnum):
    """Where a Machine stands, in a word."""

    PENDING = "Pending"
    LAUNCHED = "Launched"
    REGISTERED = "Registered"
    READY = "Ready"
    REPLACING = "Replacing"
    FAILED = "Failed"
    RELEASING = "Releasing"


class MachineFailure(ApiModel):
    """Why an instance was given up, or could not be had."""

    reason: Annotated[str, Field(max_length=1024)]
    """The same in a word."""

    message: Annotated[str, Field(max_length=1024)] = ""
    """The same in a sentence, with the cloud's own words where there are any."""

    time: datetime
    """When that was."""

    retry_time: datetime
    """When the next instance is asked for, at the earliest."""


class MachineStatus(ApiModel):
    """What the operator saw of a Machine."""

    observed_generation: Annotated[Int64, Field(ge=-1)] = -1
    """The metadata.generation that the status describes; -1 until the operator has seen
    the Machine."""

    phase: MachinePhase | None = None
    """Where the Machine stands, in a word: Pending, Launched (an instance exists),
    Registered (it joined the cluster), Ready, Replacing (the instance is given back and
    another one asked for), Failed (its node is lost and not replaced) or Releasing.
    """

    node_name: Annotated[str, Field(max_length=253)] | None = None
    """The Node that serves the Machine, also while it is away."""

    provider_id: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="providerID"
    )
    """The cloud's identifier of the instance, as in the Node's spec.providerID."""

    instance: Annotated[str, Field(max_length=253)] | None = None
    """What it is called where it was made: the NodeClaim, the agent pool."""

    launch_time: datetime | None = None
    """When the instance that there is was asked for."""

    ready_time: datetime | None = None
    """When the node that there is was ready first."""

    failures: Annotated[Int32, Field(ge=0)] = 0
    """How often an instance could not be had, or was given up, since the Machine was
    ready last. Pauses between tries grow with it."""

    last_failure: MachineFailure | None = None
    """The last of these failures; kept until the Machine is ready."""

    conditions: Annotated[
        tuple[Condition, ...],
        Field(max_length=32, json_schema_extra=list_map("type")),
    ] = ()
    """What was observed, one item for each type: Launched, Registered, Initialized and
    Ready, as Karpenter has them."""


class Machine(ApiModel):
    """One node that a Workspace asks for.

    The operator makes a Machine for each node of a Workspace; a provisioner
    finds or makes the node. Deleting a Machine gives the node back.
    """

    api_version: Literal["kaito.sh/v1alpha1"] = "kaito.sh/v1alpha1"
    kind: Literal["Machine"] = "Machine"
    metadata: ObjectMeta

    spec: MachineSpec
    """The node that is wanted."""

    # As in Workspace.
    status: MachineStatus = Field(default=MachineStatus.model_construct())
    """What the operator saw."""
