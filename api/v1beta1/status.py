"""Workspace.status: what the operator saw."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pykaito.api.meta import ApiModel, Condition
from pykaito.api.schema import Int32, Int64, list_map


class WorkspaceState(StrEnum):
    """Where a Workspace stands, in a word."""

    PENDING = "Pending"
    READY = "Ready"
    NOT_READY = "NotReady"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


_Text = Annotated[str, Field(max_length=1024)]


class Metric(ApiModel):
    """A measured number."""

    description: _Text = ""
    """What was measured."""

    value: Annotated[str, Field(max_length=64)]
    """The number."""

    unit: Annotated[str, Field(max_length=64)] = ""
    """What it counts, such as tokens/min."""

    config: Annotated[dict[str, _Text], Field(max_length=64)] = Field(
        default_factory=dict
    )
    """The settings it was measured under."""


class Performance(ApiModel):
    """How fast the model server is."""

    metrics: Annotated[dict[str, Metric], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Measured numbers by name, such as peakTokensPerMinute."""


class WorkspaceStatus(ApiModel):
    """What the operator saw of a Workspace."""

    observed_generation: Annotated[Int64, Field(ge=-1)] = -1
    """The metadata.generation that the status describes; -1 until the operator has seen
    the Workspace."""

    state: WorkspaceState | None = None
    """Where the Workspace stands, in a word: inference is Pending, Ready or NotReady;
    tuning is Pending, Running, Succeeded or Failed."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    """Where the model server answers inside the cluster."""

    target_node_count: Annotated[Int32, Field(ge=0)] | None = None
    """How many nodes the Workspace needs."""

    worker_nodes: Annotated[
        tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=1024)
    ] = ()
    """Names of the nodes it uses, sorted."""

    performance: Performance | None = None
    """How fast the model server is. This release does not measure it."""

    conditions: Annotated[
        tuple[Condition, ...],
        Field(max_length=32, json_schema_extra=list_map("type")),
    ] = ()
    """What was observed, one item for each type. Ready sums up the rest."""
