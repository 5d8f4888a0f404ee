"""The whole operator on a cluster in memory: from apply to serving to gone."""

import pytest

from pykaito.operator.objects import DEPLOYMENTS, NODES, SERVICES, Resource
from pykaito.reconcilers.resources import MACHINES, WORKSPACES
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.world import LABELS, NAME, World

pytestmark = pytest.mark.virtual_time


async def test_a_workspace_gets_its_node_its_workload_and_turns_ready() -> None:
    world = World()
    async with world.operator():
        await world.served()
        status = world.workspace()["status"]
        assert status["state"] == "Ready"
        assert status["workerNodes"] == ["gpu-0"]
        assert status["observedGeneration"] == 1
        assert {c["type"]: c["status"] for c in status["conditions"]} == {
            "NodesReady": "True",
            "ResourceReady": "True",
            "InferenceReady": "True",
            "WorkspaceSucceeded": "True",
            "Ready": "True",
        }
        assert world.service()["spec"]["ports"][0]["port"] == 80


async def test_once_it_serves_nothing_is_written_any_more() -> None:
    world = World()
    async with world.operator():
        await world.served()
        before = len(world.api.writes)
        await world.edit_workspace(metadata={"annotations": {"touched": "yes"}})
        await world.label_node("gpu-0", unrelated="yes")
        await world.at_rest()
        assert len(world.api.writes) == before + 2


async def test_a_restarted_operator_changes_nothing() -> None:
    world = World()
    async with world.operator():
        await world.served()
    before = (world.workspace(), world.deployment(), world.service(), world.machines())
    async with world.operator():
        await world.at_rest()
    after = (world.workspace(), world.deployment(), world.service(), world.machines())
    assert after == before


async def test_a_deleted_workspace_takes_all_with_it_but_the_node() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.delete_workspace()
        await eventually(lambda: world.workspace() is None, within=30)
        assert (world.deployment(), world.service()) == (None, None)
        assert world.machines() == []
        assert world.api.find(NODES, "gpu-0", "")["metadata"]["labels"] == LABELS
        await world.at_rest()


async def test_a_workspace_deleted_while_no_operator_runs_goes_when_one_does() -> None:
    world = World()
    async with world.operator():
        await world.served()
    await world.delete_workspace()
    assert world.workspace() is not None
    async with world.operator():
        await eventually(lambda: world.workspace() is None, within=30)
        assert world.machines() == []


async def test_an_unknown_preset_stalls_and_makes_nothing() -> None:
    world = World()
    async with world.operator():
        await world.add_node()
        await world.add_workspace(inference={"preset": {"name": "falcon-8b"}})
        await world.until("Stalled", "True")
        await world.until_reason("InferenceReady", "PresetNotFound")
        await world.at_rest()
        assert "falcon-7b" in world.condition("Stalled")["message"]
        assert world.condition("Reconciling") == {}
        assert (world.machines(), world.deployment()) == ([], None)
        assert len(world.events("PresetNotFound")) == 1


async def test_a_workspace_without_a_node_waits_and_takes_one_that_comes() -> None:
    world = World()
    async with world.operator():
        await world.add_workspace()
        await world.until_reason("ResourceReady", "NoMatchingNode")
        await world.at_rest()
        await world.add_node()
        await world.until("ResourceReady", "True")


async def test_deleting_a_machine_by_hand_brings_it_back() -> None:
    world = World()
    async with world.operator():
        await world.served()
        (machine,) = world.machines()
        await world.api.delete(
            MACHINES, machine["metadata"]["name"], namespace="default"
        )
        await eventually(
            lambda: (
                [m["metadata"]["uid"] for m in world.machines()]
                not in ([], [machine["metadata"]["uid"]])
            )
        )
        await world.until("Ready", "True")
        await world.at_rest()


@pytest.mark.parametrize("kind", [DEPLOYMENTS, SERVICES])
async def test_deleting_a_child_by_hand_brings_it_back(kind: Resource) -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.api.delete(kind, NAME, namespace="default")
        await eventually(lambda: world.api.find(kind, NAME) is not None)
        await world.at_rest()


async def test_conditions_and_state_agree_at_every_moment() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.set_node("gpu-0", ready=False)
        await world.until("Ready", "False")
        await world.set_node("gpu-0")
        await world.until("Ready", "True")
        await world.delete_workspace()
        await eventually(lambda: world.workspace() is None)
    for version in world.api.history(WORKSPACES):
        status = version.get("status", {})
        found = {c["type"]: c["status"] for c in status.get("conditions", ())}
        assert not found.get("Ready") == found.get("Reconciling") == "True"
        assert not {"Stalled", "Reconciling"} <= set(found)
        if found.get("Ready") == "True":
            assert status["state"] == "Ready"
            assert found["ResourceReady"] == found["InferenceReady"] == "True"
