"""What pods can have of a node whose CPUs compute."""

from typing import Any

import pytest

from pykaito.reconcilers.node_facts import cpus_of_node, node_facts
from pykaito.runtime.presets.cpu import CpuFacts
from pykaito.runtime.presets.gpu import GpuFacts
from tests.unit.reconcilers.workspaces import node, workspace

ON_CPU = workspace(metadata={"annotations": {"kaito.sh/accelerator": "cpu"}})


def of(**allocatable: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "status": {"allocatable": allocatable}}


@pytest.mark.parametrize(
    ("cpu", "memory", "millicores", "mib"),
    [
        ("8", "32Gi", 8000, 32768),
        ("940m", "2915964Ki", 940, 2816),
        ("3.5", "24581692Ki", 3500, 23808),
        ("1500m", "4Gi", 1500, 4096),
        ("2", "8589934592", 2000, 8192),
        ("2", "8589934592000m", 2000, 8192),
    ],
)
def test_what_is_allocatable_is_read_in_whatever_unit(
    cpu: str, memory: str, millicores: int, mib: int
) -> None:
    found = cpus_of_node(of(cpu=cpu, memory=memory))
    assert found == CpuFacts("node a", millicores, mib)


def test_a_node_that_comes_back_with_a_little_less_memory_is_the_same() -> None:
    before, after = of(cpu="8", memory="32900Mi"), of(cpu="8", memory="32880Mi")
    assert cpus_of_node(before) == cpus_of_node(after)


@pytest.mark.parametrize(
    "allocatable", [{}, {"cpu": "8"}, {"cpu": "8", "memory": "much"}]
)
def test_a_node_that_tells_nothing_is_passed_over(allocatable: dict[str, str]) -> None:
    assert cpus_of_node(of(**allocatable)) is None


def test_the_annotation_decides_what_computes() -> None:
    nodes = [node("a"), node("b", gpus=None)]
    assert node_facts(ON_CPU, nodes) == CpuFacts("node a", 8000, 32768)
    assert isinstance(node_facts(workspace(), nodes), GpuFacts)
    assert node_facts(ON_CPU, []) is None
