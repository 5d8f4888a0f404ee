"""Which instance types a Workspace may ask for, and of which it is only warned."""

from typing import Any

import pytest

from pykaito.provisioners.skus import skus
from pykaito.reconcilers.instance_types import check_instance_type
from pykaito.runtime.presets.plan import PlanError, PlanReason
from tests.unit.reconcilers.workspaces import workspace

TEMPLATE = {"template": {"spec": {"containers": [{"name": "a", "image": "a:1"}]}}}


def checked(
    instance_type: str | None, *known: str, nodes: tuple[str, ...] = (), **changes: Any
) -> tuple[str, ...]:
    resource = {"instanceType": instance_type, "preferredNodes": nodes}
    return check_instance_type(workspace(resource=resource, **changes), known)


def refusal(instance_type: str, **changes: Any) -> PlanError:
    with pytest.raises(PlanError) as caught:
        checked(instance_type, **changes)
    return caught.value


def test_a_misspelt_type_is_refused_with_the_nearest_that_are_sold() -> None:
    error = refusal("Standard_NC12sv3")
    assert error.reason is PlanReason.INSTANCE_TYPE_UNKNOWN
    assert error.terminal
    assert "resource.instanceType: instance type 'Standard_NC12sv3'" in str(error)
    assert "did you mean Standard_NC12s_v3" in str(error)


@pytest.mark.parametrize("name", ["a2-highgpu-1g", "Standard_N", "x"])
def test_a_type_that_is_like_none_is_refused_with_what_to_do(name: str) -> None:
    assert "prepared nodes in resource.preferredNodes" in str(refusal(name))


def test_every_type_of_nvidia_gpus_passes_whatever_its_case() -> None:
    for sku in skus().values():
        if sku.gpu.vendor == "nvidia":
            assert checked(sku.name.upper()) == ()


def test_no_type_is_no_fault() -> None:
    assert checked(None) == ()
    assert checked("") == ()


def test_a_type_that_a_node_carries_needs_no_table() -> None:
    assert checked("a2-highgpu-1g", "a2-highgpu-1g") == ()


def test_of_an_unknown_type_beside_prepared_nodes_one_is_warned() -> None:
    (warning,) = checked("a2-highgpu-1g", nodes=("gpu-1",))
    assert "'a2-highgpu-1g' is not known" in warning
    assert "only the nodes of resource.preferredNodes" in warning


def test_who_knows_better_is_warned_alone() -> None:
    bypass = {"annotations": {"kaito.sh/bypass-resource-checks": "true"}}
    (warning,) = checked("Standard_NC999_v9", metadata=bypass)
    assert "Standard_NC999_v9" in warning


@pytest.mark.parametrize(
    "name",
    ["Standard_D8s_v5", "Standard_B2ms", "m5.large", "c6i.4xlarge", "t3.micro",
     "r7iz.metal-16xl", "u-6tb1.112xlarge", "hpc7a.96xlarge"],
)  # fmt: skip
def test_a_type_without_gpus_is_refused_for_a_preset(name: str) -> None:
    error = refusal(name)
    assert error.reason is PlanReason.INSTANCE_TYPE_UNSUITABLE
    assert f"{name!r} has no GPUs" in str(error)


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"annotations": {"kaito.sh/accelerator": "cpu"}}},
        {"inference": TEMPLATE},
    ],
)
def test_a_type_without_gpus_serves_on_cpus_and_for_templates(
    changes: dict[str, Any],
) -> None:
    assert checked("Standard_D8s_v5", **changes) == ()


def test_no_type_of_the_tables_counts_as_one_without_accelerators() -> None:
    for sku in skus().values():
        if sku.gpu.vendor != "nvidia":
            assert f"has {sku.model} accelerators" in str(refusal(sku.name))


def test_a_template_may_use_accelerators_of_any_vendor() -> None:
    others = [sku.name for sku in skus().values() if sku.gpu.vendor != "nvidia"]
    assert all(checked(name, inference=TEMPLATE) == () for name in others)
