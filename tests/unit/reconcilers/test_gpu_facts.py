"""What is known of the GPUs that a Workspace gets, and from where."""

from typing import Any

import pytest

from pykaito.reconcilers.gpu_facts import (
    facts_of_node,
    facts_of_type,
    gpu_facts,
    offers,
)
from pykaito.runtime.presets.gpu import GpuFacts
from tests.unit.reconcilers.workspaces import node, workspace

A100 = {
    "nvidia.com/gpu.count": "8",
    "nvidia.com/gpu.memory": "81920",
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB",
}


def labelled(name: str = "a", **labels: str) -> dict[str, Any]:
    return node(
        name, labels=A100 | {f"nvidia.com/gpu.{k}": v for k, v in labels.items()}
    )


def test_labels_of_a_node_tell_its_gpus() -> None:
    assert facts_of_node(labelled()) == GpuFacts("NVIDIA-A100-SXM4-80GB", 8, 81920)


@pytest.mark.parametrize(
    ("product", "bfloat16"),
    [
        ("Tesla-V100-SXM2-16GB", False),
        ("Tesla-T4", False),
        ("NVIDIA-A10G", True),
        ("NVIDIA-H100-80GB-HBM3", True),
        ("NVIDIA-Something-New", True),
    ],
)
def test_a_product_tells_whether_it_has_bfloat16(product: str, bfloat16: bool) -> None:
    found = facts_of_node(labelled(product=product))
    assert found is not None
    assert found.bfloat16 is bfloat16


def test_the_compute_capability_decides_over_the_product() -> None:
    found = facts_of_node(labelled(**{"compute.major": "7"}))
    assert found is not None
    assert not found.bfloat16


@pytest.mark.parametrize("count", ["0", "-1", "many", "", "٣"])
def test_labels_that_are_no_numbers_are_passed_over(count: str) -> None:
    assert facts_of_node(labelled(count=count)) is None


def test_a_node_without_such_labels_is_known_by_its_instance_type() -> None:
    labels = {"node.kubernetes.io/instance-type": "g5.12xlarge"}
    found = facts_of_node(node("a", labels=labels))
    assert found == GpuFacts("g5.12xlarge", 4, 22731)


def test_without_a_node_the_spec_tells() -> None:
    assert gpu_facts(workspace(), []) == facts_of_type("Standard_NC12s_v3")


def test_a_node_is_believed_rather_than_the_spec() -> None:
    assert gpu_facts(workspace(), [labelled()]) == facts_of_node(labelled())


@pytest.mark.parametrize("kind", [None, "", "Standard_NC1_Imagined", "g4ad.xlarge"])
def test_an_instance_type_without_known_cuda_gpus_is_no_error(kind: str | None) -> None:
    assert facts_of_type(kind) is None


def test_offers_are_of_the_same_cloud_and_the_smallest_first() -> None:
    found = offers("g5.xlarge")
    assert {"g6.xlarge", "p5.48xlarge"} <= {gpu.name for gpu in found}
    sizes = [gpu.count * gpu.memory_mib for gpu in found]
    assert sizes == sorted(sizes)
    assert not any(gpu.name.startswith("Standard_") for gpu in found)


def test_what_can_no_longer_be_bought_is_not_offered() -> None:
    assert "Standard_NC6s_v3" not in {gpu.name for gpu in offers("Standard_NC6s_v3")}
