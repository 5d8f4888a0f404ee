"""Some of a node's GPUs, or a slice of one."""

from typing import Any, get_args

import pytest

from pykaito.api.v1beta1.resource import MigProfile
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.gpu import GIB, GpuFacts
from pykaito.runtime.presets.partition import part_of, slice_of, slices
from pykaito.runtime.presets.plan import PlanReason
from tests.unit.presets.workspaces import plan, refusal, workspace

A100 = GpuFacts("A100", 8, 40536)


def gpus(preset: str, count: int) -> Workspace:
    partition = {"mode": "accelerator", "count": count}
    return workspace({"name": preset}, resource={"partition": partition})


def slice_for(preset: str, profile: str) -> object:
    partition = {"mode": "mig", "profile": profile}
    return workspace({"name": preset}, resource={"partition": partition})


@pytest.mark.parametrize("facts", [A100, None])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_as_many_gpus_are_taken_as_the_partition_says(
    facts: GpuFacts | None, count: int
) -> None:
    assert plan(gpus("phi-2", count), facts).node_resources == {
        "nvidia.com/gpu": str(count)
    }


def test_the_context_is_that_of_the_partition() -> None:
    one, two = (plan(gpus("phi-3-mini-128k-instruct", n), A100) for n in (1, 2))
    assert one.server.context_length < two.server.context_length
    assert two.memory.shares == 2


def test_a_model_that_the_partition_does_not_hold_is_told_its_field() -> None:
    reason, message = refusal(gpus("falcon-40b", 1), A100)
    assert reason is PlanReason.MODEL_DOES_NOT_FIT
    assert message.startswith("resource.partition.count: the weights of falcon-40b")
    assert message.endswith("; 4 of them hold it")


def test_a_model_that_the_node_does_not_hold_is_offered_another() -> None:
    spec = gpus("falcon-40b", 2)
    small = GpuFacts("V100", 2, 16160)
    with pytest.raises(Exception, match="is A100 with 8 x"):
        plan(spec, small, offers=[A100])


@pytest.mark.parametrize("partition", [None, gpus("phi-2", 2)])
def test_gpus_are_requested_by_the_name_of_their_vendors_resource(
    partition: Any,
) -> None:
    amd = GpuFacts("MI210", 8, 65536, resource="amd.com/gpu")
    part = part_of(partition and partition.resource.partition, amd)
    assert (part.resource, part.gpu, part.is_slice) == ("amd.com/gpu", amd, False)


@pytest.mark.parametrize("facts", [A100, None])
def test_a_slice_is_requested_by_its_profile(facts: GpuFacts | None) -> None:
    found = plan(slice_for("phi-2", "1g.10gb"), facts)
    assert found.node_resources == {"nvidia.com/mig-1g.10gb": "1"}
    assert found.memory.capacity == pytest.approx(10e9, rel=1e-3)
    assert found.server.dtype == "float16"


def test_a_model_that_a_slice_does_not_hold_is_told_one_that_does() -> None:
    reason, message = refusal(slice_for("falcon-7b", "1g.5gb"), A100)
    assert reason is PlanReason.MODEL_DOES_NOT_FIT
    assert message.startswith("resource.partition.profile: the weights of falcon-7b")
    assert "a slice 1g.5gb has 4.7 GiB" in message
    assert "the smallest slice that holds it is 1g.18gb" in message


def test_a_model_that_no_slice_holds_is_told_so() -> None:
    spec = slice_for("deepseek-v3-0324", "7g.141gb")
    assert "no slice holds it; use whole GPUs" in refusal(spec)[1]


def test_every_profile_has_a_memory() -> None:
    assert len(slices()) == len(get_args(MigProfile))
    assert all(4 * GIB < found.memory < 180e9 for found in slices())


@pytest.mark.parametrize(
    ("profile", "gib"), [("1g.10gb", 9.75), ("2g.20gb", 19.62), ("7g.80gb", 79.25)]
)
def test_a_slice_holds_no_less_than_is_counted(profile: str, gib: float) -> None:
    """As nvidia-smi lists them on an H100 with 80 GB."""
    assert 0.92 * gib * GIB < slice_of(profile).memory <= gib * GIB


def test_what_is_no_profile_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"write it as 1g\.10gb"):
        slice_of("half")
