"""What Karpenter's kwok provider has on offer: Azure's GPU sizes that tests name.

The provider takes these for instances of a cloud. Names and sizes are Azure's, so
that a Workspace written for AKS finds its instance type; prices only rank them.
"""

import itertools
from dataclasses import dataclass
from typing import Any

ZONES = ("zone-1", "zone-2")
# A spot offering is cheaper, so a claim that leaves the choice open gets one.
_PRICES = {"on-demand": 1.0, "spot": 0.4}


@dataclass(frozen=True)
class InstanceType:
    """A size of machine.

    Attributes:
        name: Its name, the label `node.kubernetes.io/instance-type` of its nodes.
        cpus: Cores.
        memory: Memory, as a quantity.
        gpus: How many `nvidia.com/gpu` it has.
    """

    name: str
    cpus: int
    memory: str
    gpus: int


INSTANCE_TYPES = (
    InstanceType("Standard_NC6s_v3", cpus=6, memory="112Gi", gpus=1),
    InstanceType("Standard_NC12s_v3", cpus=12, memory="224Gi", gpus=2),
    InstanceType("Standard_NC24ads_A100_v4", cpus=24, memory="220Gi", gpus=1),
    InstanceType("Standard_NC96ads_A100_v4", cpus=96, memory="880Gi", gpus=4),
    InstanceType("Standard_ND96asr_v4", cpus=96, memory="900Gi", gpus=8),
)


def render() -> list[dict[str, Any]]:
    """The provider's instance types file, as JSON values."""
    return [_render(instance_type) for instance_type in INSTANCE_TYPES]


def _render(instance_type: InstanceType) -> dict[str, Any]:
    return {
        "name": instance_type.name,
        "offerings": [
            _offering(capacity_type, zone, price * instance_type.gpus)
            for (capacity_type, price), zone in itertools.product(
                _PRICES.items(), ZONES
            )
        ],
        "architecture": "amd64",
        "operatingSystems": ["linux"],
        "resources": {
            "cpu": str(instance_type.cpus),
            "memory": instance_type.memory,
            "ephemeral-storage": "2Ti",
            "pods": "110",
            "nvidia.com/gpu": str(instance_type.gpus),
        },
    }


def _offering(capacity_type: str, zone: str, price: float) -> dict[str, Any]:
    return {
        "price": price,
        "available": True,
        "requirements": [
            _only("karpenter.sh/capacity-type", capacity_type),
            _only("topology.kubernetes.io/zone", zone),
        ],
    }


def _only(label: str, value: str) -> dict[str, Any]:
    return {"key": label, "operator": "In", "values": [value]}
