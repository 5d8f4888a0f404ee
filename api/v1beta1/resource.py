"""Workspace.resource: which nodes, and how many."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from pykaito.api.meta import ApiModel
from pykaito.api.names import InstanceType, ObjectName
from pykaito.api.schema import LIST_SET, Int32, Rule, rules
from pykaito.api.selectors import LabelSelector

MigProfile = Literal[
    # A30
    "1g.6gb", "2g.12gb", "4g.24gb",
    # A100 with 40 GB
    "1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb",
    # A100 and H100 with 80 GB
    "1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb",
    # H100 with 94 GB
    "1g.12gb", "1g.24gb", "2g.24gb", "3g.47gb", "4g.47gb", "7g.94gb",
    # GH200 with 96 GB
    "3g.48gb", "4g.48gb", "7g.96gb",
    # H200
    "1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb",
    # B200
    "1g.23gb", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb",
]  # fmt: skip
"""What NVIDIA's GPUs can be cut into: a GPU's share of compute and of memory."""


MAX_NODES = 1024
"""What status.workerNodes has room for."""


class PartitionMode(StrEnum):
    """How a node's GPUs are shared out."""

    MIG = "mig"
    ACCELERATOR = "accelerator"


PARTITION_RULES = (
    Rule(
        rule="self.mode != 'mig' || has(self.profile)",
        holds=lambda self: self["mode"] != "mig" or "profile" in self,
        message="mode mig needs a profile, such as 1g.10gb",
        field_path=".profile",
    ),
    Rule(
        rule="self.mode != 'mig' || !has(self.count)",
        holds=lambda self: self["mode"] != "mig" or "count" not in self,
        message="mode mig takes one slice and no count; remove it",
        field_path=".count",
    ),
    Rule(
        rule="self.mode != 'accelerator' || has(self.count)",
        holds=lambda self: self["mode"] != "accelerator" or "count" in self,
        message="mode accelerator needs a count: how many of a node's GPUs to use",
        field_path=".count",
    ),
    Rule(
        rule="self.mode != 'accelerator' || !has(self.profile)",
        holds=lambda self: self["mode"] != "accelerator" or "profile" not in self,
        message="mode accelerator takes whole GPUs and no profile; remove it",
        field_path=".profile",
    ),
)


class Partition(ApiModel):
    """A part of a prepared node, where the whole would be too much."""

    model_config = ConfigDict(json_schema_extra=rules(*PARTITION_RULES))

    mode: PartitionMode
    """mig: one MIG slice of a GPU. accelerator: some of the node's GPUs."""

    profile: MigProfile | None = None
    """The size of the slice, for mode mig, such as 1g.10gb: one seventh of the compute
    and 10 GB of memory."""

    count: Annotated[Int32, Field(ge=1)] | None = None
    """How many of the node's GPUs to use, for mode accelerator."""


RESOURCE_RULES = (
    Rule(
        rule="(has(self.instanceType) ? self.instanceType : '') == "
        "(has(oldSelf.instanceType) ? oldSelf.instanceType : '') || "
        "((!has(self.instanceType) || self.instanceType == '') && "
        "has(self.preferredNodes) && self.preferredNodes.size() > 0)",
        holds=lambda self, old: (
            self.get("instanceType", "") == old.get("instanceType", "")
            or (not self.get("instanceType") and bool(self.get("preferredNodes")))
        ),
        message="the instance type cannot be changed; make a new Workspace (it can be "
        "removed where preferredNodes names the nodes)",
        found="'the instance type cannot be changed from ' + "
        "(has(oldSelf.instanceType) ? oldSelf.instanceType : 'none') + ' to ' + "
        "(has(self.instanceType) ? self.instanceType : 'none') + "
        "'; make a new Workspace (it can be removed where preferredNodes names the "
        "nodes)'",
        says=lambda self, old: (
            "the instance type cannot be changed from "
            f"{old.get('instanceType', 'none')} to {self.get('instanceType', 'none')}; "
            "make a new Workspace (it can be removed where preferredNodes names the "
            "nodes)"
        ),
        field_path=".instanceType",
    ),
    Rule(
        rule="has(self.partition) == has(oldSelf.partition) && "
        "(!has(self.partition) || self.partition == oldSelf.partition)",
        holds=lambda self, old: self.get("partition") == old.get("partition"),
        message="the partition cannot be changed; make a new Workspace",
        field_path=".partition",
    ),
)


class Resource(ApiModel):
    """The nodes that a Workspace runs on."""

    model_config = ConfigDict(json_schema_extra=rules(*RESOURCE_RULES))

    count: Annotated[Int32, Field(ge=1, le=MAX_NODES)] = 1
    """How many nodes to use; each serves a copy of the model."""

    instance_type: InstanceType | None = None
    """The size of machine to provision, by the cloud's name, such as
    Standard_NC24ads_A100_v4. Not needed where prepared nodes are used. It cannot be
    changed."""

    label_selector: LabelSelector
    """Labels that a node must carry to be used, preferred nodes included. It cannot be
    changed."""

    preferred_nodes: Annotated[
        tuple[ObjectName, ...],
        Field(max_length=128, json_schema_extra=dict(LIST_SET)),
    ] = ()
    """Names of prepared nodes to use before any is provisioned. Each must exist, be
    Ready, carry the labels of labelSelector and have allocatable GPUs; a node that does
    not is named in the ResourceReady condition with what it lacks. Prepared nodes are
    never deleted, only released."""

    partition: Partition | None = None
    """Use a part of each prepared node instead of all its GPUs; inference only. It
    cannot be changed."""
