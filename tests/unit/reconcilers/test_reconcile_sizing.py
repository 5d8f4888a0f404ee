"""The whole operator on a cluster in memory: GPUs of nodes decide the workload."""

import pytest

from pykaito.operator.objects import NODES
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.workspaces import node
from tests.unit.reconcilers.world import LABELS, NAME, World

pytestmark = pytest.mark.virtual_time

LARGE = {"nvidia.com/gpu.count": "8", "nvidia.com/gpu.memory": "81920"}
FALCON_40B = {"inference": {"preset": {"name": "falcon-40b"}}}


def asked(world: World) -> tuple[str, str]:
    """What Machine and Deployment ask for; both reconcilers must say the same."""
    (machine,) = world.machines()
    (container,) = world.deployment()["spec"]["template"]["spec"]["containers"]
    kind = "nvidia.com/gpu"
    of_pod = container["resources"]["requests"][kind]
    return machine["spec"]["resources"][kind], of_pod


async def test_machine_and_workload_ask_for_the_gpus_of_the_same_plan() -> None:
    world = World()
    async with world.operator():
        await world.add_node(labels=LABELS | LARGE, gpus=8)
        await world.add_workspace(**FALCON_40B)
        await eventually(lambda: world.deployment() is not None)
        await world.at_rest()
        assert asked(world) == ("2", "2")


async def test_a_model_that_does_not_fit_stalls_and_makes_nothing() -> None:
    world = World()
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**FALCON_40B)
        await world.until_reason("Stalled", "ModelDoesNotFit")
        await world.until_reason("InferenceReady", "ModelDoesNotFit")
        await world.at_rest()
        assert "Standard_NC40ads_H100_v5" in world.condition("Stalled")["message"]
        assert (world.machines(), world.deployment()) == ([], None)
        assert len(world.events("ModelDoesNotFit")) == 1


async def test_a_model_that_did_not_fit_is_served_once_a_node_holds_it() -> None:
    world = World()
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**FALCON_40B)
        await world.until_reason("Stalled", "ModelDoesNotFit")
        await world.add_node("gpu-1", labels=LABELS | LARGE, gpus=8)
        await eventually(lambda: world.deployment() is not None)
        await world.at_rest()
        assert asked(world) == ("2", "2")
        assert world.condition("Stalled") == {}


async def test_labels_that_come_later_reach_the_workload() -> None:
    """Nothing of the Machine changes: the inference reconciler sees the node."""
    world = World()
    async with world.operator():
        await world.served()
        assert "--torch_dtype float16" in command(world)
        await world.label_node("gpu-0", **LARGE)
        await eventually(lambda: "--torch_dtype bfloat16" in command(world))
        await world.at_rest()


async def test_a_limited_context_is_told_once_in_an_event() -> None:
    world = World()
    async with world.operator():
        await world.add_node()
        await world.add_workspace(
            inference={"preset": {"name": "phi-3-mini-128k-instruct"}}
        )
        await eventually(lambda: world.deployment() is not None)
        await world.at_rest()
        (event,) = world.events("PlanWarning")
        assert "of the 131072 tokens" in event["note"]
        assert event["regarding"]["name"] == NAME


async def test_a_node_that_goes_away_leaves_the_workload_as_it_is() -> None:
    world = World()
    async with world.operator():
        await world.add_node(labels=LABELS | LARGE, gpus=8)
        await world.add_workspace(**FALCON_40B)
        await eventually(lambda: world.deployment() is not None)
        before = world.deployment()["spec"]
        status = node("gpu-0", ready=False)["status"]
        await world.api.patch(
            *(NODES, "gpu-0"), {"status": status}, subresource="status"
        )
        await world.at_rest()
        assert world.deployment()["spec"] == before


def command(world: World) -> str:
    (container,) = world.deployment()["spec"]["template"]["spec"]["containers"]
    return str(container["command"][-1])
