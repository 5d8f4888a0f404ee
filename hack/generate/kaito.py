"""KAITO's node counts beside ours, and which step from one to the other changes them.

The first step is KAITO's own formula, with its constants and the weights that it
sums up; it gives the counts that KAITO publishes, exactly.
"""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pykaito.provisioners.skus import find_sku
from pykaito.reconcilers.gpu_facts import facts_of_sku
from pykaito.runtime.presets.catalogue import Preset, catalogue
from pykaito.runtime.presets.estimate import DEFAULT_CONTEXT, estimate
from pykaito.runtime.presets.gpu import GIB

UTILIZATION = 0.84
BASE_GIB = 2.3
OVERHEAD = 1.05
WEIGHTS = 1.02


class Steps(NamedTuple):
    """Nodes of a preset on an instance type, from KAITO's count to ours."""

    preset: str
    instance_type: str
    kaito: int
    #: With weights counted once.
    weights: int
    #: With as much of each GPU set aside as we do: our count.
    ours: int


@cache
def facts() -> dict[str, Any]:
    """Return what KAITO publishes: its columns, and nodes by preset."""
    path = Path(__file__).with_name("kaito_nodes.yaml")
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def nodes(preset: Preset, instance_type: str, weights_gib: float) -> int:
    """Return how many nodes KAITO 0.12 asks for."""
    gpus = find_sku(instance_type).count
    usable = facts()["memoryGiB"][instance_type] * UTILIZATION
    cached = DEFAULT_CONTEXT * preset.attention.bytes_per_token / GIB
    room = usable - BASE_GIB - cached / gpus
    return math.ceil((int(weights_gib * WEIGHTS / (room / OVERHEAD)) + 1) / gpus)


def published(preset: Preset, instance_type: str) -> int:
    """Return how many nodes KAITO 0.12 asks for, with the weights it sums up."""
    summed = facts()["weightsGiB"].get(preset.name, preset.weights_gib)
    return nodes(preset, instance_type, summed)


def differences() -> Iterator[Steps]:
    """Yield every preset and instance type on which the counts differ."""
    for name in facts()["nodes"]:
        preset = catalogue()[name]
        for instance_type in facts()["columns"]:
            steps = _steps(preset, instance_type)
            if steps.kaito != steps.ours:
                yield steps


def _steps(preset: Preset, instance_type: str) -> Steps:
    return Steps(
        preset=preset.name,
        instance_type=instance_type,
        kaito=published(preset, instance_type),
        weights=nodes(preset, instance_type, preset.weights_gib),
        ours=estimate(preset, facts_of_sku(find_sku(instance_type))).nodes,
    )
