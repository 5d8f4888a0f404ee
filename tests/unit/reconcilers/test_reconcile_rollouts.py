"""How the workload is rolled out: with a pod more, or with downtime that is told."""

from typing import Any

import pytest

from pykaito.operator.objects import DEPLOYMENTS, NODES
from pykaito.reconcilers.resources import WORKSPACES
from tests.unit.operator.virtual_time import VirtualClock, eventually
from tests.unit.reconcilers.world import NAME, World

pytestmark = pytest.mark.virtual_time

ADAPTED = {
    "inference": {
        "preset": {"name": "falcon-7b"},
        "adapters": [{"source": {"name": "law", "image": "registry/law:1"}}],
    }
}
OTHER = {"metadata": {"name": "other"}}


def unschedulable() -> dict[str, Any]:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        "lastTransitionTime": VirtualClock().now().isoformat(),
    }
    return {"conditions": [condition]}


def surges(world: World) -> bool:
    rolling = world.deployment()["spec"]["strategy"]["rollingUpdate"]
    assert rolling["maxSurge"] + rolling["maxUnavailable"] == 1
    return bool(rolling["maxSurge"])


async def served_on(world: World, gpus: int, **changes: Any) -> None:
    await world.add_node(gpus=gpus)
    await world.add_workspace(**changes)
    await eventually(lambda: world.deployment() is not None)
    await world.serve()
    await world.until("Ready", "True")
    await world.at_rest()


async def half_way(world: World, *, available: int = 1) -> None:
    """Report a pod of the new template beside the old one."""
    live = world.deployment()
    status = {
        "observedGeneration": live["metadata"]["generation"],
        "replicas": 2,
        "updatedReplicas": 1,
        "readyReplicas": available,
        "availableReplicas": available,
    }
    await world.api.patch(
        *(DEPLOYMENTS, NAME),
        {"status": status},
        namespace="default",
        subresource="status",
    )


async def test_a_node_with_room_gets_the_new_pod_beside_the_old_one() -> None:
    world = World()
    async with world.operator():
        await served_on(world, gpus=2)
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: "law" in str(world.template()))
        assert surges(world)
        await world.at_rest()
        assert world.events("RolloutWithDowntime") == []


async def test_a_node_without_room_stops_the_old_pod_first_and_tells_it_once() -> None:
    world = World()
    async with world.operator():
        await served_on(world, gpus=1)
        assert not surges(world)
        assert world.events("RolloutWithDowntime") == []
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: len(world.events("RolloutWithDowntime")) == 1)
        await world.serve()
        await world.until("Ready", "True")
        await world.at_rest()
        (event,) = world.events("RolloutWithDowntime")
        assert "node 'gpu-0' has no room" in event["note"]
        assert event.get("series") is None


KEPT = {"persistentVolumeClaim": {"claimName": "kept"}}
ON_A_CLAIM = {
    "preset": {"name": "falcon-7b"},
    "adapters": [{"source": {"name": "law", "volumeSource": KEPT}}],
}
OWN = {
    "containers": [{"name": "server", "image": "r/a:1"}],
    "volumes": [{"name": "models", **KEPT}],
}


@pytest.mark.parametrize(
    ("made", "claims"),
    [
        ({}, False),
        ({"metadata": {"annotations": {"kaito.sh/cache-claim": "kept"}}}, True),
        ({"inference": ON_A_CLAIM}, True),
        ({"inference": {"template": {"spec": OWN}}}, True),
    ],
    ids=["none", "cache", "adapter", "template"],
)
async def test_a_claim_is_let_go_of_before_it_is_used_on_another_node(
    made: dict[str, Any], claims: bool
) -> None:
    world = World()
    resource = {"labelSelector": {"matchLabels": {}}, "count": 1, "instanceType": ""}
    first, second = (
        {"resource": resource | {"preferredNodes": [name]}} for name in ("gpu-0", "b")
    )
    async with world.operator():
        await world.add_node("b", gpus=2)
        await served_on(world, gpus=2, **made, **first)
        await world.edit_workspace(**second)
        await eventually(lambda: "values': ['b']" in str(world.template()))
        assert surges(world) is not claims
        told = [event["note"] for event in world.events("RolloutWithDowntime")]
        assert ("Claim kept may be on one node" in str(told)) is claims


async def test_what_another_workspace_holds_is_no_room() -> None:
    world = World()
    async with world.operator():
        await served_on(world, gpus=2)
        await world.add_workspace(**OTHER)
        await eventually(lambda: len(world.machines()) == 2)
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: len(world.events("RolloutWithDowntime")) == 1)
        assert not surges(world)
        note = world.events("RolloutWithDowntime")[0]["note"]
        assert "beside other Workspaces" in note


async def test_a_pod_more_that_fits_nowhere_is_given_up_and_the_rollout_ends() -> None:
    world = World()
    async with world.operator():
        await served_on(world, gpus=2)
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: "law" in str(world.template()))
        template = world.template()
        await half_way(world)
        await world.add_pod("new", unschedulable())
        await eventually(lambda: not surges(world), within=60)
        await world.at_rest()
        assert world.template() == template
        (event,) = world.events("RolloutWithDowntime")
        assert "Insufficient nvidia.com/gpu" in event["note"]


async def test_a_pod_that_never_served_makes_room_for_one_that_is_mended() -> None:
    world = World()
    async with world.operator():
        await served_on(world, gpus=2)
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: "law" in str(world.template()))
        await half_way(world, available=0)
        await world.add_pod("new", unschedulable())
        await eventually(lambda: not surges(world), within=60)
        await world.at_rest()
        assert world.events("RolloutWithDowntime") == []


async def test_what_serves_on_a_cordoned_node_goes_on_until_it_takes_pods_again() -> (
    None
):
    world = World()
    async with world.operator():
        await served_on(world, gpus=1)
        await world.api.patch(NODES, "gpu-0", {"spec": {"unschedulable": True}})
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: "law" in str(world.template()))
        await half_way(world)
        await world.add_pod("new", unschedulable())
        await world.at_rest()
        assert surges(world)
        assert world.events("RolloutWithDowntime") == []
        await world.api.patch(NODES, "gpu-0", {"spec": {"unschedulable": None}})
        await eventually(lambda: not surges(world), within=60)
        assert len(world.events("RolloutWithDowntime")) == 1
        await world.serve()
        await world.at_rest()


async def test_a_model_that_is_served_reads_so_while_its_node_is_cordoned() -> None:
    world = World()
    async with world.operator():
        await served_on(world, gpus=1)
        before = len(world.api.history(WORKSPACES))
        await world.api.patch(NODES, "gpu-0", {"spec": {"unschedulable": True}})
        await eventually(lambda: surges(world))
        await world.at_rest()
        await world.serve()
        await world.at_rest()
        assert world.api.history(WORKSPACES)[before:] == []


async def test_a_restart_in_a_rollout_changes_nothing_of_it() -> None:
    world = World()
    async with world.operator():
        await served_on(world, gpus=2)
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: "law" in str(world.template()))
        await half_way(world)
        await world.add_workspace(**OTHER)
        await eventually(lambda: len(world.machines()) == 2)
    before = world.deployment()
    async with world.operator():
        await world.at_rest()
        assert world.deployment() == before


async def test_a_node_less_is_no_downtime() -> None:
    world = World()
    async with world.operator():
        await world.add_node("gpu-1")
        await world.served(resource={"count": 2})
        await world.edit_workspace(resource={"count": 1})
        await eventually(lambda: world.deployment()["spec"]["replicas"] == 1)
        await world.at_rest()
        assert surges(world)
        assert world.events("RolloutWithDowntime") == []
