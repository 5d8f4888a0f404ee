"""The tables of presets hold every preset and instance type, and explain themselves."""

import pytest

from hack.generate import kaito, presets
from pykaito.provisioners.skus import skus
from pykaito.runtime.presets.catalogue import Preset, catalogue

COMPARED = [catalogue()[name] for name in kaito.facts()["nodes"]]


@pytest.mark.parametrize("preset", COMPARED, ids=lambda preset: preset.name)
def test_kaitos_counts_follow_from_its_formula(preset: Preset) -> None:
    counts = [kaito.published(preset, column) for column in kaito.facts()["columns"]]
    assert counts == kaito.facts()["nodes"][preset.name]


def test_we_ask_for_fewer_nodes_wherever_the_counts_differ() -> None:
    steps = list(kaito.differences())
    assert steps
    assert all(step.ours < step.kaito for step in steps)


def test_every_instance_type_has_a_column_for_every_preset() -> None:
    text = presets.tables()["sizes on every instance type"]
    nvidia = [sku for sku in skus().values() if sku.gpu.vendor == "nvidia"]
    for memory in {sku.gpu.memory_mib for sku in nvidia}:
        (section,) = [
            part for part in text.split("\n### ") if f": {memory} MiB\n" in part
        ]
        for sku in nvidia:
            if sku.gpu.memory_mib == memory:
                assert sku.model in section
                assert f"| {sku.count} on a node |" in section
        rows = [line.split(" | ")[0] for line in section.splitlines()[4:] if line]
        assert rows == [f"| {name}" for name in catalogue()]
