"""The kinds of the group: names, versions, and the columns of `kubectl get`."""

from dataclasses import dataclass
from typing import Literal

from pykaito.api.conditions import MachineCondition, WorkspaceCondition
from pykaito.api.meta import ApiModel
from pykaito.api.v1alpha1.machine import Machine
from pykaito.api.v1alpha1.workspace import Workspace as WorkspaceV1Alpha1
from pykaito.api.v1beta1.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`, beside NAME."""

    name: str
    path: str
    """Where its value is, as a JSONPath."""

    type: Literal["string", "integer", "date"] = "string"
    wide: bool = False
    """Show it with `-o wide` only."""


@dataclass(frozen=True, slots=True)
class Version:
    """A served version of a kind."""

    name: str
    model: type[ApiModel]
    columns: tuple[Column, ...]
    storage: bool
    """Objects are stored in this version; true of exactly one."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A kind of the group, all of which are namespaced."""

    kind: str
    plural: str
    versions: tuple[Version, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


def _condition(name: str, type_: str, key: str = "status", *, wide: bool) -> Column:
    path = f'.status.conditions[?(@.type=="{type_}")].{key}'
    return Column(name, path, wide=wide)


_AGE = Column("Age", ".metadata.creationTimestamp", "date")

# One table for both versions: kubectl asks for the newest version it is not told
# otherwise, and `kubectl get workspace` shall print what it always printed.
# What newer versions add is in -o wide.
_WORKSPACE_COLUMNS = (
    Column("Instance", ".resource.instanceType"),
    _condition("ResourceReady", WorkspaceCondition.RESOURCE_READY, wide=False),
    _condition("InferenceReady", WorkspaceCondition.INFERENCE_READY, wide=False),
    _condition("JobStarted", WorkspaceCondition.JOB_STARTED, wide=False),
    _condition(
        "WorkspaceSucceeded", WorkspaceCondition.WORKSPACE_SUCCEEDED, wide=False
    ),
    _AGE,
    _condition("Ready", WorkspaceCondition.READY, wide=True),
    _condition("Reason", WorkspaceCondition.READY, "reason", wide=True),
    Column("URL", ".status.url", wide=True),
)
_WORKSPACE_COLUMNS_V1BETA1 = (
    *_WORKSPACE_COLUMNS,
    Column("TargetNodeCount", ".status.targetNodeCount", "integer", wide=True),
    Column("State", ".status.state", wide=True),
)

_MACHINE_COLUMNS = (
    Column("Type", ".spec.instanceType"),
    Column("Node", ".status.nodeName"),
    _condition("Ready", MachineCondition.READY, wide=False),
    _AGE,
    Column("Provisioner", ".spec.provisioner", wide=True),
    Column("Phase", ".status.phase", wide=True),
    _condition("Reason", MachineCondition.READY, "reason", wide=True),
    Column("ID", ".status.providerID", wide=True),
)

WORKSPACE = Definition(
    kind="Workspace",
    plural="workspaces",
    short_names=("wk", "wks"),
    categories=("workspace",),
    versions=(
        Version("v1alpha1", WorkspaceV1Alpha1, _WORKSPACE_COLUMNS, storage=False),
        Version("v1beta1", Workspace, _WORKSPACE_COLUMNS_V1BETA1, storage=True),
    ),
)

MACHINE = Definition(
    kind="Machine",
    plural="machines",
    versions=(Version("v1alpha1", Machine, _MACHINE_COLUMNS, storage=True),),
)

DEFINITIONS = (WORKSPACE, MACHINE)
