"""What goes wrong with pods reaches condition and Event in time, and once."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from pykaito.operator.objects import DEPLOYMENTS, EVENTS, PODS
from tests.unit.operator.virtual_time import VirtualClock, eventually
from tests.unit.reconcilers.kubelet import (
    condition,
    crashed,
    ended,
    pod,
    running,
    waiting,
)
from tests.unit.reconcilers.world import NAME, World

pytestmark = pytest.mark.virtual_time

PODNAME = f"{NAME}-79d4c8bb4-x2x7q"
DENIED = "pulling from host r.example.com failed: 401 Unauthorized"
#: What the status of a pod may take to reach condition and Event, in seconds.
IN_TIME = 15

FAILURES = {
    "missing secret": (
        pod(waiting("CreateContainerConfigError", 'secret "hf" not found')),
        "ContainerStartError",
        "create secret generic hf",
    ),
    "wrong image": (
        pod(waiting("InvalidImageName", "invalid reference format")),
        "ImagePullError",
        "to an image name such as",
    ),
    "pull denied": (
        pod(waiting("ErrImagePull", DENIED)),
        "ImagePullError",
        "an image that every node may pull",
    ),
    "out of memory": (
        pod(crashed(ended(137, reason="OOMKilled"))),
        "ContainerOOMKilled",
        "Use a node with more memory",
    ),
    "crash loop": (
        pod(crashed(ended(1, "ValueError: no weights"))),
        "ContainerCrashLoopBackOff",
        "ValueError: no weights. Its log says more",
    ),
    "unschedulable": (
        pod(
            conditions=[
                condition("PodScheduled", "False")
                | {"message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}
            ]
        ),
        "Unschedulable",
        "kubectl get pods -A -o wide --field-selector",
    ),
    "disk pressure": (
        pod(
            phase="Failed",
            reason="Evicted",
            message="The node was low on resource: ephemeral-storage. ",
        ),
        "NodeDiskPressure",
        "Free disk space on node gpu-0",
    ),
    "missing ConfigMap key": (
        pod(
            waiting(
                "CreateContainerConfigError",
                "couldn't find key k in ConfigMap default/settings",
            )
        ),
        "ContainerStartError",
        "patch configmap settings",
    ),
    "adapter without files": (
        pod(
            waiting("PodInitializing"),
            init=(crashed(ended(1, "no adapter_config.json in /data of this image")),),
        ),
        "ContainerCrashLoopBackOff",
        "no adapter_config.json in /data of this image",
    ),
}


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def started_now(**status: Any) -> dict[str, Any]:
    """Return a pod's status with conditions that turned just now."""
    at = stamp(VirtualClock().now())
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": at}
        for kind in ("PodScheduled", "PodReadyToStartContainers")
    ]
    return {"phase": "Pending", "conditions": conditions, **status}


async def applied(world: World) -> None:
    """Bring the Workspace to where its pods are awaited."""
    await world.add_node()
    await world.add_workspace()
    await eventually(lambda: world.deployment() is not None)
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    await world.api.patch(
        DEPLOYMENTS,
        NAME,
        {"status": status},
        namespace="default",
        subresource="status",
    )


async def report(world: World, status: dict[str, Any]) -> None:
    await world.api.patch(
        PODS, PODNAME, {"status": status}, namespace="default", subresource="status"
    )


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_told_in_time_with_cause_and_remedy(name: str) -> None:
    failing, reason, remedy = FAILURES[name]
    world = World()
    async with world.operator():
        await applied(world)
        await world.add_pod(PODNAME, failing["status"], failing["spec"])
        await eventually(lambda: len(world.events(reason)) == 1, within=IN_TIME)
        (event,) = world.events(reason)
        for told in (
            event["note"],
            world.condition("InferenceReady")["message"],
            world.condition("Ready")["message"],
        ):
            assert remedy in told
            assert told.endswith(f"/{reason}.md)")
        assert event["type"] == "Warning"


async def test_a_quota_that_refuses_the_pod_is_told_in_time() -> None:
    quota = "exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0"
    failure = {"type": "ReplicaFailure", "status": "True", "message": quota}
    world = World()
    async with world.operator():
        await applied(world)
        await world.api.patch(
            DEPLOYMENTS,
            NAME,
            {"status": {"conditions": [failure]}},
            namespace="default",
            subresource="status",
        )
        await eventually(lambda: world.events("QuotaExceeded") != [], within=IN_TIME)
        (event,) = world.events("QuotaExceeded")
        assert "describe resourcequota small" in event["note"]


async def test_a_volume_that_is_not_there_is_told_though_the_kubelet_says_nothing() -> (
    None
):
    spec = {"volumes": [{"name": "v", "configMap": {"name": "settings"}}]}
    world = World()
    async with world.operator():
        await applied(world)
        status = started_now(containerStatuses=[waiting("ContainerCreating")])
        status["conditions"][1]["status"] = "False"
        await world.add_pod(PODNAME, status, spec)
        await eventually(
            lambda: world.events("ContainerStartError") != [], within=IN_TIME
        )
        assert "ConfigMap settings" in world.condition("Ready")["message"]


async def test_what_nobody_mends_stalls_in_time_and_goes_on_once_it_is_mended() -> None:
    world = World()
    async with world.operator():
        await applied(world)
        denied = waiting("ImagePullBackOff", DENIED)
        await world.add_pod(PODNAME, started_now(containerStatuses=[denied]))
        await world.until_reason("Ready", "ImagePullError")
        assert world.condition("Stalled") == {}
        begun = VirtualClock().now()
        await eventually(lambda: world.condition("Stalled") != {}, within=400)
        assert VirtualClock().now() - begun < timedelta(minutes=5, seconds=5)
        assert world.condition("Reconciling") == {}
        assert world.workspace()["status"]["state"] == "NotReady"
        await world.at_rest()
        await report(world, started_now(containerStatuses=[running()]))
        await eventually(lambda: world.condition("Reconciling") != {})
        assert world.condition("Stalled") == world.condition("InferenceStalled") == {}
        await world.serve()
        await world.until("Ready", "True")


async def test_a_crash_loop_is_one_turn_of_the_story_however_often_it_turns() -> None:
    world = World()
    async with world.operator():
        await applied(world)
        await world.add_pod(PODNAME, started_now(containerStatuses=[running()]))
        for count in range(1, 7):
            last = {"lastState": ended(1, "no weights"), "restartCount": count}
            for container in (crashed(last["lastState"]), running()):
                await report(world, started_now(containerStatuses=[container | last]))
                await asyncio.sleep(5)
        (event,) = world.events("ContainerCrashLoopBackOff")
        assert "series" not in event
        assert "(restarts: 6)" in world.condition("Ready")["message"]
        assert world.condition("Stalled")["status"] == "True"


async def test_the_next_cause_of_the_same_kind_is_told_too() -> None:
    world = World()
    async with world.operator():
        await applied(world)
        for missing in ('secret "hf" not found', 'configmap "settings" not found'):
            failing = waiting("CreateContainerConfigError", missing)
            status = started_now(containerStatuses=[failing])
            if world.api.stored(PODS):
                await report(world, status)
            else:
                await world.add_pod(PODNAME, status)
            await asyncio.sleep(5)
        first, second = world.events("ContainerStartError")
        assert "Secret hf" in first["note"]
        assert "ConfigMap settings" in second["note"]


async def test_the_story_is_told_from_plan_to_deletion() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.delete_workspace()
        await eventually(lambda: world.workspace() is None, within=30)
        await asyncio.sleep(5)
    told = [
        event["reason"]
        for event in world.api.stored(EVENTS)
        if event["regarding"]["kind"] == "Workspace"
    ]
    assert told == [
        "Planned",
        "MachineCreated",
        "NodesReady",
        "WorkloadCreated",
        "WorkspaceInferenceStatusSuccess",
        "Ready",
        "Deleting",
    ]
