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
    wrong = offering(labelled(count=count))
    assert facts_of_node(wrong) is None
    assert facts_of_node(offering(wrong, nvidia="4")) == GpuFacts(
        "NVIDIA-A100-SXM4-80GB", 4, 81920
    )


def offering(node: dict[str, Any], **allocatable: str) -> dict[str, Any]:
    """Return the node as one with so many of each vendor's devices."""
    names = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"} | INTEL
    offered = {names[vendor]: number for vendor, number in allocatable.items()}
    return node | {"status": node["status"] | {"allocatable": offered}}


INTEL = {"i915": "gpu.intel.com/i915", "xe": "gpu.intel.com/xe"}


def test_the_count_comes_from_the_capacity_while_the_plugin_is_not_well() -> None:
    sick = offering(labelled(count=""), nvidia="0")
    sick["status"]["capacity"] = {"nvidia.com/gpu": "8"}
    found = facts_of_node(sick)
    assert found is not None
    assert found.count == 8


@pytest.mark.parametrize(
    ("product", "mib"),
    [
        ("NVIDIA-A100-SXM4-80GB", 81251),
        ("NVIDIA-A100-PCIE-40GB", 40536),
        ("Tesla-V100-SXM2-16GB", 16160),
        ("NVIDIA-A10G", 22731),
        ("Tesla-T4", 15109),
        ("NVIDIA-H100-80GB-HBM3", 81559),
    ],
)
def test_a_product_that_a_table_has_tells_its_memory(product: str, mib: int) -> None:
    found = facts_of_node(labelled(product=product, memory=""))
    assert found is not None
    assert found.memory_mib == mib


@pytest.mark.parametrize(
    "product",
    [
        "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb",
        "NVIDIA-A10-24Q",
        "Tesla-T4-SHARED",
        "NVIDIA-A100",
        "NVIDIA-Something-New",
        "",
    ],
)
def test_a_slice_or_a_product_that_no_table_has_tells_no_memory(product: str) -> None:
    assert facts_of_node(labelled(product=product, memory="")) is None


AMD = {
    "amd.com/gpu.vram": "64G",
    "amd.com/gpu.product-name": "Instinct_MI210",
    "amd.com/gpu.device-id": "740f",
    "beta.amd.com/gpu.vram": "64G",
    "beta.amd.com/gpu.vram.64G": "1",
    "beta.amd.com/gpu.product-name.Instinct_MI210": "1",
}


def amd(count: int, mib: int, name: str = "Instinct_MI210") -> GpuFacts:
    return GpuFacts(f"{name} of node a", count, mib, resource="amd.com/gpu")


def test_amd_gpus_are_known_by_their_labels_and_counted_by_what_is_offered() -> None:
    found = facts_of_node(offering(node("a", labels=AMD), amd="8"))
    assert found == amd(8, 65536)
    assert found.vendor == "AMD"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (
            {
                "beta.amd.com/gpu.vram.16G": "2",
                "beta.amd.com/gpu.device-id.6860": "2",
                "beta.amd.com/gpu.family.AI": "2",
            },
            amd(2, 16384, "6860"),
        ),
        (
            {"amd.com/gpu.vram.64G": "3", "amd.com/gpu.vram.32G": "1"},
            amd(4, 32768, "GPU"),
        ),
        ({"amd.com/gpu.vram": "64G"}, amd(1, 65536, "GPU")),
        ({"amd.com/gpu.vram": "lots"}, amd(1, 0, "GPU")),
    ],
)
def test_labels_of_older_releases_and_of_mixed_gpus_tell_number_and_least_memory(
    labels: dict[str, str], expected: GpuFacts
) -> None:
    assert facts_of_node(offering(node("a", labels=labels))) == expected


def test_amd_gpus_without_labels_are_known_by_the_resource_alone() -> None:
    assert facts_of_node(offering(node("a"), amd="2")) == amd(2, 0, "GPU")


def test_an_amd_node_without_labels_is_known_by_its_instance_type() -> None:
    labels = {"node.kubernetes.io/instance-type": "g4ad.8xlarge"}
    found = facts_of_node(offering(node("a", labels=labels)))
    assert found is not None
    assert (found.name, found.count, found.vendor) == ("g4ad.8xlarge, node a", 2, "AMD")


@pytest.mark.parametrize("driver", ["i915", "xe"])
def test_the_memory_of_intel_gpus_is_that_of_all_by_their_number(driver: str) -> None:
    labels = {
        "gpu.intel.com/product": "Max_1100",
        "gpu.intel.com/millicores": "2000",
        "gpu.intel.com/memory.max": str(2 * 48 * 2**30),
    }
    # Each GPU is shared by two containers.
    found = facts_of_node(offering(node("a", labels=labels), **{driver: "4"}))
    assert found == GpuFacts(
        "Max_1100 of node a", 4, 49152, resource=f"gpu.intel.com/{driver}"
    )
    assert found.vendor == "Intel"


def test_intel_gpus_without_labels_have_a_memory_that_is_not_known() -> None:
    found = facts_of_node(offering(node("a"), i915="1"))
    assert found == GpuFacts("GPU of node a", 1, 0, resource="gpu.intel.com/i915")


def test_nvidia_gpus_count_before_those_of_another_vendor() -> None:
    both = offering(labelled(), nvidia="8", i915="1")
    assert facts_of_node(both) == GpuFacts("NVIDIA-A100-SXM4-80GB", 8, 81920)
    of_type = {"node.kubernetes.io/instance-type": "g5.xlarge"}
    found = facts_of_node(offering(node("a", labels=of_type), i915="1"))
    assert found == GpuFacts("g5.xlarge", 1, 22731)
    assert facts_of_node(offering(node("a"), nvidia="1", i915="1")) is None


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
