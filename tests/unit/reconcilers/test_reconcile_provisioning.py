"""Nodes that are made for Workspaces: asked for, replaced, limited, given back."""

import asyncio
from typing import Any

import pytest

from pykaito.api import labels
from pykaito.operator.errors import ForbiddenError
from pykaito.operator.leader import NotLeaderError
from pykaito.operator.objects import DEPLOYMENTS, NODES, Resource
from pykaito.provisioners.errors import (
    InstanceTypeError,
    InsufficientCapacityError,
    LaunchError,
    QuotaError,
    ThrottledError,
)
from pykaito.reconcilers.machine.lifecycle import Policy, Repair
from pykaito.reconcilers.provisioning import Limits, ProvisioningSettings
from pykaito.reconcilers.resources import MACHINES
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.cloud import Cloud
from tests.unit.reconcilers.world import LABELS, NAME, World

pytestmark = pytest.mark.virtual_time

#: Longer than the tests let a node be away, in seconds.
LATE = 200.0

BY_CLOUD = {labels.PROVISIONER: "cloud"}


def world_of(cloud: Cloud, **settings: Any) -> World:
    world = World()
    world.factories = [cloud]
    world.provisioning = ProvisioningSettings(**settings)
    return world


def clouded(**settings: Any) -> tuple[World, Cloud]:
    """Return a world whose operator has nodes made unless it is told otherwise."""
    cloud = Cloud()
    return world_of(cloud, **({"default": "cloud"} | settings)), cloud


def names(world: World) -> list[str]:
    return sorted(machine["metadata"]["name"] for machine in world.machines())


def machine(world: World, name: str = f"{NAME}-0") -> Any:
    return world.api.find(MACHINES, name)


async def test_a_workspace_gets_its_node_and_gives_it_back() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        assert world.condition("NodeClaimReady")["reason"] == "NodeClaimsReady"
        assert world.workspace()["status"]["workerNodes"] == [f"node-{NAME}-0"]
        await eventually(lambda: world.deployment() is not None)
        bound = str(world.template()["spec"]["affinity"])
        assert f"node-{NAME}-0" in bound
        await world.serve()
        await world.until("Ready", "True")
        await world.at_rest()
        await world.delete_workspace()
        await eventually(lambda: world.workspace() is None)
        assert (cloud.launches, cloud.releases) == ([f"{NAME}-0"], [f"{NAME}-0"])
        assert world.api.stored(NODES) == []


async def test_without_a_provisioner_that_makes_nodes_none_is_made() -> None:
    cloud = Cloud()
    world = world_of(cloud)
    async with world.operator():
        await world.add_workspace()
        await world.until_reason("ResourceReady", "NoMatchingNode")
        await world.at_rest()
        assert cloud.launches == []


async def test_a_workspace_may_choose_its_provisioner() -> None:
    cloud = Cloud()
    world = world_of(cloud)
    async with world.operator():
        await world.add_workspace(metadata={"annotations": BY_CLOUD})
        await world.until("ResourceReady", "True")
        assert cloud.launches == [f"{NAME}-0"]


async def test_a_provisioner_that_is_not_there_is_told_with_those_that_are() -> None:
    world, _ = clouded()
    async with world.operator():
        wrong = {labels.PROVISIONER: "clowd"}
        await world.add_workspace(metadata={"annotations": wrong})
        await world.until_reason("Stalled", "AnnotationInvalid")
        message = world.condition("Stalled")["message"]
        assert "found 'clowd'" in message
        assert "did you mean 'cloud'?" in message


async def test_prepared_nodes_are_used_before_any_is_made() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_node("mine")
        await world.add_workspace(resource={"count": 2})
        await world.until("ResourceReady", "True")
        assert cloud.launches == [f"{NAME}-0"]
        nodes = world.workspace()["status"]["workerNodes"]
        assert nodes == ["mine", f"node-{NAME}-0"]


async def test_a_prepared_node_that_cannot_serve_is_not_waited_for() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_node("broken", ready=False)
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        assert cloud.launches == [f"{NAME}-0"]


async def test_a_node_that_was_made_is_no_prepared_node_for_others() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_workspace(metadata={"name": "first"})
        await world.until("ResourceReady", "True", "first")
        await world.label_node("node-first-0", **LABELS)
        await world.add_workspace(metadata={"name": "second"})
        await world.until("ResourceReady", "True", "second")
        assert cloud.launches == ["first-0", "second-0"]


async def test_a_prepared_node_that_comes_later_takes_nothing_away() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        await world.add_node("mine")
        await world.at_rest()
        assert names(world) == [f"{NAME}-0"]
        assert cloud.releases == []


async def test_the_count_is_followed_up_and_down() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        await world.edit_workspace(resource={"count": 3})
        await eventually(
            lambda: len(world.workspace()["status"].get("workerNodes", ())) == 3
        )
        await world.edit_workspace(resource={"count": 1})
        await eventually(lambda: len(cloud.instances) == 1)
        await world.at_rest()
        assert cloud.launches == [f"{NAME}-{slot}" for slot in (0, 1, 2)]
        assert sorted(cloud.releases) == [f"{NAME}-1", f"{NAME}-2"]


async def test_no_capacity_is_told_with_what_could_be_had_instead() -> None:
    world, cloud = clouded()
    cloud.errors = [InsufficientCapacityError("zone 1 has none left")]
    async with world.operator():
        await world.add_workspace(
            resource={"instanceType": "Standard_NC24ads_A100_v4"},
            metadata={"annotations": {labels.ZONES: "1, 2"}},
        )
        await world.until_reason("ResourceReady", "InsufficientCapacity")
        told = world.condition("ResourceReady")["message"]
        assert "zone 1 has none left" in told
        assert "name other zones than 1, 2" in told
        assert "use another instance type, such as Standard_" in told
        assert "failed once" in told
        assert world.condition("NodeClaimReady")["reason"] == "InsufficientCapacity"
        assert world.condition("Stalled") == {}
        await world.until("ResourceReady", "True")
        assert cloud.launches == [f"{NAME}-0"]
        assert "failures" not in machine(world)["status"]


async def test_pauses_grow_with_failures_and_outlive_a_restart() -> None:
    world, cloud = clouded()
    cloud.errors = [QuotaError("no quota") for _ in range(50)]
    async with world.operator():
        await world.add_workspace()
        await asyncio.sleep(600)
        tried = 50 - len(cloud.errors)
        assert 4 <= tried <= 6
    async with world.operator():
        await asyncio.sleep(60)
        assert 50 - len(cloud.errors) <= tried + 1
        assert machine(world)["status"]["lastFailure"]["reason"] == "CloudQuotaExceeded"
        told = world.condition("ResourceReady")["message"]
        assert f"failed {machine(world)['status']['failures']} times" in told


async def test_throttling_is_obeyed() -> None:
    world, cloud = clouded()
    cloud.errors = [ThrottledError("too many requests", retry_after=7)]
    async with world.operator():
        await world.add_workspace()
        await world.until_reason("ResourceReady", "CloudThrottled")
        await asyncio.sleep(5)
        assert cloud.launches == []
        await asyncio.sleep(5)
        assert cloud.launches == [f"{NAME}-0"]


async def test_what_only_a_person_can_mend_stalls_and_is_tried_seldom() -> None:
    world, cloud = clouded()
    cloud.errors = [InstanceTypeError("not sold in this region")]
    async with world.operator():
        await world.add_workspace()
        await world.until_reason("Stalled", "InstanceTypeNotAvailable")
        await world.until("ResourceReady", "True")
        assert world.condition("Stalled") == {}


async def test_an_instance_that_fails_is_given_back_and_another_made() -> None:
    world, cloud = clouded()
    cloud.joins = False
    async with world.operator():
        await world.add_workspace()
        await eventually(lambda: cloud.instances != {})
        cloud.failed[f"{NAME}-0"] = LaunchError("its disk cannot be attached")
        cloud.joins = True
        await world.label_machine(f"{NAME}-0")
        await world.until_reason("ResourceReady", "LaunchFailed")
        assert (
            "its disk cannot be attached" in world.condition("ResourceReady")["message"]
        )
        await world.until("ResourceReady", "True")
        assert cloud.launches == [f"{NAME}-0", f"{NAME}-0"]
        assert cloud.releases == [f"{NAME}-0"]


async def test_an_instance_that_never_joins_is_given_back_in_the_end() -> None:
    world, cloud = clouded(policy=Policy(launch_seconds=300))
    cloud.joins = False
    async with world.operator():
        await world.add_workspace()
        await asyncio.sleep(200)
        assert cloud.releases == []
        cloud.joins = True
        await asyncio.sleep(200)
        assert cloud.releases == [f"{NAME}-0"]
        await world.until("ResourceReady", "True")
        assert cloud.launches == [f"{NAME}-0"] * 2


async def test_a_lost_node_is_replaced_and_the_workload_follows() -> None:
    world, cloud = clouded(policy=Policy(node_seconds=120))
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        await world.lose_node(f"node-{NAME}-0")
        await world.until("ResourceReady", "False")
        await asyncio.sleep(100)
        assert cloud.releases == []
        await eventually(lambda: cloud.releases == [f"{NAME}-0"], within=LATE)
        await world.until("ResourceReady", "True")
        assert cloud.launches == [f"{NAME}-0"] * 2


async def test_a_node_that_loses_its_gpus_is_replaced_after_a_while() -> None:
    world, cloud = clouded(policy=Policy(node_seconds=120))
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        await world.set_node(f"node-{NAME}-0", gpus=0)
        await world.until_reason("ResourceReady", "ResourceMissing")
        await eventually(lambda: cloud.releases == [f"{NAME}-0"], within=LATE)
        await world.until("ResourceReady", "True")


async def test_a_node_that_recovers_in_time_is_kept() -> None:
    world, cloud = clouded(policy=Policy(node_seconds=120))
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        await world.set_node(f"node-{NAME}-0", ready=False)
        await world.until("ResourceReady", "False")
        await asyncio.sleep(60)
        await world.set_node(f"node-{NAME}-0")
        await world.until("ResourceReady", "True")
        await asyncio.sleep(200)
        assert cloud.releases == []


async def test_a_lost_node_is_only_reported_where_that_is_asked_for() -> None:
    policy = Policy(Repair.REPORT, node_seconds=120)
    world, cloud = clouded(policy=policy)
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        await world.set_node(f"node-{NAME}-0", ready=False)
        await eventually(
            lambda: machine(world)["status"]["phase"] == "Failed", within=LATE
        )
        await asyncio.sleep(3600)
        assert (cloud.launches, cloud.releases) == ([f"{NAME}-0"], [])
        await world.set_node(f"node-{NAME}-0")
        await world.until("ResourceReady", "True")


async def test_a_prepared_node_that_stays_away_makes_room_for_another() -> None:
    world = world_of(Cloud(), policy=Policy(node_seconds=120))
    async with world.operator():
        await world.served()
        await world.add_node("gpu-1")
        await world.set_node("gpu-0", ready=False)
        await world.until("ResourceReady", "False")
        await eventually(
            lambda: world.workspace()["status"]["workerNodes"] == ["gpu-1"], within=LATE
        )


async def test_giving_back_goes_on_after_a_restart_and_happens_once() -> None:
    world, cloud = clouded()
    cloud.releasing = True
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        await world.delete_workspace()
        await world.until("WorkspaceDeleting", "True")
        await asyncio.sleep(60)
        assert f"{NAME}-0" in world.condition("WorkspaceDeleting")["message"]
        assert cloud.releases == []
    cloud.releasing = False
    async with world.operator():
        await eventually(lambda: world.workspace() is None)
        assert cloud.releases == [f"{NAME}-0"]


async def test_a_cloud_that_refuses_in_other_words_each_time_is_asked_seldom() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        cloud.refusals = [ThrottledError(f"request {n} refused") for n in range(1000)]
        await world.delete_workspace()
        await asyncio.sleep(300)
        assert 1000 - len(cloud.refusals) <= 12
        said = {c["type"]: c["message"] for c in machine(world)["status"]["conditions"]}
        assert "refused" in said["Ready"]
        cloud.refusals = []
        await eventually(lambda: world.workspace() is None)


async def test_a_machine_written_by_hand_gives_its_node_back_too() -> None:
    world, cloud = clouded()
    async with world.operator():
        by_hand = {
            "apiVersion": MACHINES.api_version,
            "kind": MACHINES.kind,
            "metadata": {"name": "by-hand", "namespace": "default"},
            "spec": {"provisioner": "cloud", "instanceType": "Standard_NC12s_v3"},
        }
        await world.api.apply(MACHINES, by_hand, field_manager="kubectl")
        await eventually(lambda: cloud.launches == ["by-hand"])
        await world.at_rest()
        await world.api.delete(MACHINES, "by-hand", namespace="default")
        await eventually(lambda: cloud.releases == ["by-hand"])
        await eventually(lambda: world.machines() == [])


async def test_without_the_lease_the_cloud_is_asked_for_nothing() -> None:
    """A process that was stopped for a while goes on for a moment where it was."""
    world, cloud = clouded()
    name = f"{NAME}-0"
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")

        def refuse(resource: Resource) -> None:
            raise NotLeaderError(f"it may not write {resource}")

        by_others = world.api.unelected()
        world.api.before_write = refuse
        another = machine(world)
        another["metadata"] = {"name": "another", "namespace": "default"}
        await by_others.apply(MACHINES, another, field_manager="kubectl")
        await by_others.delete(MACHINES, name, namespace="default")
        await asyncio.sleep(60)
        assert (cloud.launches, cloud.releases) == ([name], [])
        world.api.before_write = None
        await eventually(lambda: cloud.releases == [name], within=LATE)
        assert "another" in cloud.launches


async def test_one_workspace_may_not_have_more_than_its_share_made() -> None:
    world, cloud = clouded(limits=Limits(per_workspace=2, in_all=10))
    async with world.operator():
        await world.add_workspace(resource={"count": 2})
        await world.until("ResourceReady", "True")
        await world.edit_workspace(resource={"count": 3})
        await world.until_reason("Stalled", "WorkspaceMachineLimitExceeded")
        assert len(cloud.instances) == 2
        await world.at_rest()
        await world.edit_workspace(resource={"count": 1})
        await world.until("ResourceReady", "True")
        assert world.condition("Stalled") == {}


async def test_all_workspaces_together_have_a_limit_and_wait_for_their_turn() -> None:
    world, cloud = clouded(limits=Limits(per_workspace=8, in_all=3))
    async with world.operator():
        for number in range(5):
            await world.add_workspace(metadata={"name": f"ws-{number}"})
        await eventually(lambda: len(cloud.instances) == 3)
        await asyncio.sleep(120)
        assert len(cloud.launches) == 3
        waiting = [
            name
            for name in (f"ws-{n}" for n in range(5))
            if world.condition("ResourceReady", name)["status"] == "False"
        ]
        assert len(waiting) == 2
        told = world.condition("ResourceReady", waiting[0])
        assert told["reason"] == "MachineLimitReached"
        assert "at most 3 in all" in told["message"]
        served = next(f"ws-{n}" for n in range(5) if f"ws-{n}" not in waiting)
        await world.delete_workspace(served)
        await eventually(lambda: len(cloud.launches) == 4)


async def test_a_label_that_the_cloud_sets_is_refused_by_its_field() -> None:
    world, cloud = clouded()
    selector = {"matchLabels": {"example.com/reserved": "x"}}
    async with world.operator():
        await world.add_workspace(resource={"labelSelector": selector})
        await world.until_reason("Stalled", "NodeOptionInvalid")
        assert world.condition("Stalled")["message"].startswith(
            "resource.labelSelector: found 'example.com/reserved'"
        )
        assert (cloud.launches, world.machines()) == ([], [])


async def test_another_default_takes_no_nodes_away() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
    world.provisioning = ProvisioningSettings()
    async with world.operator():
        await world.at_rest()
        assert world.condition("ResourceReady")["status"] == "True"
        assert cloud.releases == []


async def test_options_of_nodes_are_annotations() -> None:
    world, _ = clouded()
    options = {
        labels.CAPACITY_TYPE: "spot",
        labels.ZONES: "westus-1,westus-2",
        labels.NODE_IMAGE_FAMILY: "azurelinux",
        labels.NODE_CLASS_NAME: "fast",
    }
    async with world.operator():
        await world.add_workspace(metadata={"annotations": options})
        await world.until("ResourceReady", "True")
        spec = machine(world)["spec"]
        assert spec["capacityType"] == "spot"
        assert spec["zones"] == ["westus-1", "westus-2"]
        assert spec["imageFamily"] == "azurelinux"
        assert spec["nodeClass"] == "fast"
        assert spec["taints"] == [
            {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
        ]
        assert spec["labels"]["apps"] == "falcon-7b"


async def fails_for_good(world: World) -> None:
    """Bring a Workspace to where only a person can bring its model up."""
    await world.until("ResourceReady", "True")
    await eventually(lambda: world.deployment() is not None)
    live = world.deployment()
    status = {
        "observedGeneration": live["metadata"]["generation"],
        "updatedReplicas": 1,
        "conditions": [
            {
                "type": "Progressing",
                "status": "False",
                "reason": "ProgressDeadlineExceeded",
            }
        ],
    }
    await world.api.patch(
        DEPLOYMENTS, NAME, {"status": status}, namespace="default", subresource="status"
    )
    await world.until("InferenceStalled", "True")


async def test_a_model_that_fails_for_good_pays_for_an_hour_and_no_longer() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_workspace()
        await fails_for_good(world)
        await asyncio.sleep(3000)
        assert cloud.releases == []
        await asyncio.sleep(700)
        assert cloud.releases == [f"{NAME}-0"]
        await world.until_reason("Stalled", "NodesReleased")
        told = world.condition("Stalled")["message"]
        assert 'kaito.sh/keep-nodes: "true"' in told
        assert "ProgressDeadlineExceeded" in told
        await asyncio.sleep(7200)
        assert cloud.launches == [f"{NAME}-0"]
    async with world.operator():
        await world.at_rest()
        assert cloud.launches == [f"{NAME}-0"]
        assert world.condition("Stalled")["reason"] == "NodesReleased"
        await world.edit_workspace(inference={"config": None, "adapters": []})
        await world.edit_workspace(resource={"count": 2})
        await eventually(lambda: len(cloud.instances) == 2)


async def test_nodes_of_a_model_that_fails_are_kept_where_that_is_asked_for() -> None:
    world, cloud = clouded()
    keep = {labels.KEEP_NODES: "true"}
    async with world.operator():
        await world.add_workspace(metadata={"annotations": keep})
        await fails_for_good(world)
        await asyncio.sleep(8000)
        assert cloud.releases == []


async def test_nodes_wait_no_longer_than_that_for_one_that_cannot_be_had() -> None:
    world, cloud = clouded()
    async with world.operator():
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        cloud.errors = [InstanceTypeError("sold out for good") for _ in range(99)]
        await world.edit_workspace(resource={"count": 2})
        await world.until_reason("Stalled", "InstanceTypeNotAvailable")
        await asyncio.sleep(3000)
        assert cloud.releases == []
        await asyncio.sleep(1000)
        assert cloud.releases == [f"{NAME}-0"]
        assert world.condition("Stalled")["reason"] == "NodesReleased"
        assert "InstanceTypeNotAvailable" in world.condition("Stalled")["message"]


async def test_a_refusal_of_the_api_server_is_told_with_its_words() -> None:
    world, _ = clouded()
    async with world.operator():
        world.api.fault = lambda verb, resource: (
            ForbiddenError("nodes are forbidden here", status=403)
            if (verb, resource) == ("create", NODES)
            else None
        )
        await world.add_workspace()
        await world.until_reason("ResourceReady", "LaunchFailed")
        assert "nodes are forbidden here" in world.condition("ResourceReady")["message"]
