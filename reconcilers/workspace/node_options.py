"""What a Workspace says of the nodes that are made for it, beside their type."""

from dataclasses import dataclass

from pykaito.api import labels
from pykaito.api.v1alpha1.machine import CapacityType
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.annotations import listed


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """How nodes are made; `annotations.check_annotations` has looked at the words."""

    capacity_type: CapacityType
    zones: tuple[str, ...]
    image_family: str | None
    node_class: str | None


def node_options(workspace: Workspace) -> NodeOptions:
    """Return what the annotations say of nodes that are made."""
    found = workspace.metadata.annotations
    return NodeOptions(
        capacity_type=CapacityType(
            found.get(labels.CAPACITY_TYPE, CapacityType.ON_DEMAND)
        ),
        zones=listed(found.get(labels.ZONES, "")),
        image_family=found.get(labels.NODE_IMAGE_FAMILY),
        node_class=found.get(labels.NODE_CLASS_NAME),
    )
