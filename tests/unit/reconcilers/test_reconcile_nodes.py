"""Nodes that come, go and change, and the Machines that hold them."""

import pytest

from pykaito.reconcilers.resources import MACHINES
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.world import LABELS, NAME, World

pytestmark = pytest.mark.virtual_time


def nodes_of(world: World) -> list[str]:
    return sorted(machine["spec"]["nodeName"] for machine in world.machines())


async def test_a_lost_node_is_replaced_by_another_and_the_workload_follows() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.add_node("gpu-1")
        await world.at_rest()
        assert nodes_of(world) == ["gpu-0"]
        await world.lose_node("gpu-0")
        await eventually(lambda: nodes_of(world) == ["gpu-1"])
        await eventually(
            lambda: "gpu-1" in str(world.deployment()["spec"]["template"]["spec"])
        )
        await world.serve()
        await world.until("Ready", "True")
        await world.at_rest()


async def test_without_another_node_the_loss_is_told() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.lose_node("gpu-0")
        await world.until_reason("ResourceReady", "NoMatchingNode")
        await world.at_rest()
        assert world.workspace()["status"]["state"] == "NotReady"
        assert world.condition("Reconciling")["status"] == "True"
        assert world.condition("Stalled") == {}


async def test_a_lost_node_of_a_type_that_no_table_has_may_come_back() -> None:
    instance_type = "our-own"
    labels = LABELS | {"node.kubernetes.io/instance-type": instance_type}
    world = World()
    async with world.operator():
        await world.add_node(labels=labels)
        await world.add_workspace(resource={"instanceType": instance_type})
        await world.until("ResourceReady", "True")
        await world.lose_node("gpu-0")
        await world.until_reason("ResourceReady", "NoMatchingNode")
        await world.at_rest()
    async with world.operator():
        await world.at_rest()
        assert world.condition("Stalled") == {}
        await world.add_node(labels=labels)
        await world.until("ResourceReady", "True")


async def test_a_node_that_loses_the_label_is_given_back() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.label_node("gpu-0", apps=None)
        await world.until_reason("ResourceReady", "NoMatchingNode")
        await eventually(lambda: world.machines() == [])
        await world.label_node("gpu-0", apps="falcon-7b")
        await world.until("ResourceReady", "True")


async def test_a_preferred_node_is_kept_without_the_label_and_told_what_it_lacks() -> (
    None
):
    world = World()
    async with world.operator():
        await world.add_node("mine", labels={})
        await world.add_workspace(resource={"preferredNodes": ["mine"]})
        await world.until_reason("ResourceReady", "LabelMismatch")
        message = world.condition("ResourceReady")["message"]
        assert "kubectl label node mine apps=falcon-7b" in message
        await world.label_node("mine", apps="falcon-7b")
        await world.until("ResourceReady", "True")


async def test_a_node_that_is_not_ready_for_a_while_keeps_everything_as_it_is() -> None:
    world = World()
    async with world.operator():
        await world.served()
        before = world.condition("InferenceReady")["lastTransitionTime"]
        await world.set_node("gpu-0", ready=False)
        await world.until_reason("Ready", "NodeNotReady")
        await world.at_rest()
        await world.set_node("gpu-0")
        await world.until("Ready", "True")
        assert world.deployment()["metadata"]["generation"] == 1
        assert world.condition("InferenceReady")["lastTransitionTime"] == before


async def test_a_node_without_a_label_that_is_ignored_wakes_the_workspace() -> None:
    reserved = {"kaito.sh/workspace": NAME}
    selector = {"matchLabels": {"apps": "falcon-7b"} | reserved}
    world = World()
    async with world.operator():
        await world.add_workspace(resource={"labelSelector": selector})
        await world.until_reason("ResourceReady", "NoMatchingNode")
        await world.at_rest()
        await world.add_node()
        await world.until("ResourceReady", "True")


async def test_a_label_asked_for_by_an_expression_wakes_the_workspace() -> None:
    expression = {"key": "apps", "operator": "In", "values": ["falcon-7b"]}
    world = World()
    async with world.operator():
        await world.add_node(labels={**LABELS, "apps": "other"})
        await world.add_workspace(
            resource={"labelSelector": {"matchExpressions": [expression]}}
        )
        await world.until_reason("ResourceReady", "NoMatchingNode")
        await world.at_rest()
        await world.label_node("gpu-0", apps="falcon-7b")
        await world.until("ResourceReady", "True")


async def test_two_workspaces_that_are_made_at_once_take_different_nodes() -> None:
    world = World()
    async with world.operator():
        await world.add_node("gpu-0")
        await world.add_node("gpu-1")
        await world.at_rest()
        await world.add_workspace(metadata={"name": "first"})
        await world.add_workspace(metadata={"name": "second"})
        await world.until("ResourceReady", "True", "first")
        await world.until("ResourceReady", "True", "second")
        await world.at_rest()
        assert nodes_of(world) == ["gpu-0", "gpu-1"]


async def test_two_workspaces_take_different_nodes_also_across_a_restart() -> None:
    world = World()
    await world.add_node("gpu-0")
    await world.add_node("gpu-1")
    for name in ("first", "second"):
        async with world.operator():
            await world.add_workspace(metadata={"name": name})
            await world.until("ResourceReady", "True", name)
    assert nodes_of(world) == ["gpu-0", "gpu-1"]


async def test_a_workspace_that_is_gone_leaves_its_node_to_the_next() -> None:
    world = World()
    async with world.operator():
        await world.add_node("gpu-0")
        await world.add_node("gpu-1")
        await world.add_workspace(metadata={"name": "first"})
        await world.until("ResourceReady", "True", "first")
        await world.delete_workspace("first")
        await eventually(lambda: world.workspace("first") is None)
        await world.add_workspace(metadata={"name": "second"})
        await world.until("ResourceReady", "True", "second")
        assert nodes_of(world) == ["gpu-0"]


async def test_a_deletion_says_which_provisioner_it_waits_for() -> None:
    world = World()
    async with world.operator():
        await world.served()
        (machine,) = world.machines()
        await world.api.patch(
            MACHINES,
            machine["metadata"]["name"],
            {"spec": {"provisioner": "nimbus"}},
            namespace="default",
        )
        await world.delete_workspace()
        await world.until("WorkspaceDeleting", "True")
        await eventually(
            lambda: "'nimbus'" in world.condition("WorkspaceDeleting")["message"]
        )
        await world.at_rest()
        assert world.machines()[0]["status"]["phase"] == "Releasing"


async def test_a_machine_written_by_hand_keeps_no_workspace_from_a_node() -> None:
    world = World()
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "1"}
    by_hand = {
        "apiVersion": MACHINES.api_version,
        "kind": MACHINES.kind,
        "metadata": {
            "name": "by-hand",
            "namespace": "other",
            "ownerReferences": [owner | {"controller": True}],
        },
        "spec": {
            "provisioner": "preferred_nodes",
            "nodeName": "gpu-0",
            "resources": {"nvidia.com/gpu": "1e100"},
        },
    }
    await world.api.apply(MACHINES, by_hand, field_manager="kubectl")
    async with world.operator():
        await world.add_node("gpu-0")
        await world.add_workspace()
        await world.until("ResourceReady", "True")
