"""What a start took reaches Prometheus, once for each rollout."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from pykaito.api import labels
from pykaito.operator.objects import PODS, Key
from pykaito.provisioners.naming import instance_name
from tests.unit.operator.virtual_time import VirtualClock, eventually
from tests.unit.reconcilers.cloud import Cloud
from tests.unit.reconcilers.world import LABELS, NAME, World

pytestmark = pytest.mark.virtual_time

STAGES = ("node", "schedule", "image", "weights", "adapters", "init", "load")
ADAPTED: dict[str, Any] = {
    "inference": {
        "preset": {"name": "falcon-7b"},
        "adapters": [{"source": {"name": "law", "image": "registry/law:1"}}],
    }
}


class Observed:
    """What the histogram was told since the last look, by stage."""

    def __init__(self) -> None:
        self._before = _totals()

    def news(self) -> dict[str, tuple[float, float]]:
        """Return how often, and how many seconds in all."""
        before, self._before = self._before, _totals()
        return {
            stage: (count - before[stage][0], total - before[stage][1])
            for stage, (count, total) in self._before.items()
            if count != before[stage][0]
        }


def _totals() -> dict[str, tuple[float, float]]:
    name = "kaito_workspace_startup_seconds"
    return {
        stage: (
            REGISTRY.get_sample_value(f"{name}_count", {"stage": stage}) or 0,
            REGISTRY.get_sample_value(f"{name}_sum", {"stage": stage}) or 0,
        )
        for stage in STAGES
    }


def later(seconds: float) -> str:
    """Return the timestamp of a moment so many seconds from now."""
    return f"{VirtualClock().now() + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


async def start(world: World, pod: str, *, adapter: str = "") -> None:
    """Start the Deployment's pod as a kubelet does, and end the rollout."""
    created, ready = later(0), later(166)
    status: dict[str, Any] = {
        "containerStatuses": [
            {"name": NAME, "state": {"running": {"startedAt": later(46)}}}
        ],
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": at}
            for kind, at in (("PodScheduled", later(4)), ("ContainersReady", ready))
        ],
    }
    if adapter:
        ran = {"startedAt": later(24), "finishedAt": later(26), "exitCode": 0}
        status["initContainerStatuses"] = [
            {"name": adapter, "state": {"terminated": ran}}
        ]
    await asyncio.sleep(166)
    await world.add_pod(
        pod, status, world.template()["spec"], creationTimestamp=created
    )
    await world.serve(conditions=[ended(later(0))])
    await world.until("Ready", "True")
    await world.at_rest()


def ended(at: str) -> dict[str, str]:
    return {
        "type": "Progressing",
        "status": "True",
        "reason": "NewReplicaSetAvailable",
        "lastUpdateTime": at,
    }


async def test_a_start_is_measured_stage_by_stage() -> None:
    world, observed = World(), Observed()
    async with world.operator():
        await world.add_node()
        await world.add_workspace()
        await eventually(lambda: world.deployment() is not None)
        await start(world, "first")
    assert observed.news() == {"schedule": (1, 4), "image": (1, 42), "load": (1, 120)}


async def test_a_node_that_is_made_is_part_of_the_first_start_alone() -> None:
    world, observed = World(), Observed()
    cloud = Cloud(joins=False)
    world.factories = [cloud]
    async with world.operator():
        await world.add_workspace(
            metadata={"annotations": {labels.PROVISIONER: "cloud"}}
        )
        await eventually(lambda: bool(cloud.launches))
        await asyncio.sleep(90)
        machine = instance_name(Key("default", f"{NAME}-0"))
        made = LABELS | {labels.MACHINE: machine}
        await world.add_node(f"node-{NAME}-0", labels=made)
        await eventually(lambda: world.deployment() is not None)
        await start(world, "first")
        count, seconds = observed.news()["node"]
        assert count == 1
        assert 90 <= seconds <= 92
        await world.edit_workspace(**ADAPTED)
        await world.until("InferenceReady", "False")
        await world.api.delete(PODS, "first", namespace="default")
        await start(world, "second", adapter="adapter-law")
    assert observed.news() == {
        "schedule": (1, 4),
        "image": (1, 40),
        "adapters": (1, 2),
        "load": (1, 120),
    }


async def test_an_operator_that_restarts_measures_nothing_twice() -> None:
    world, observed = World(), Observed()
    async with world.operator():
        await world.add_node()
        await world.add_workspace()
        await eventually(lambda: world.deployment() is not None)
        await start(world, "first")
    assert observed.news()
    async with world.operator():
        await world.at_rest()
        await world.edit_workspace(metadata={"annotations": {"touched": "yes"}})
        await world.at_rest()
    assert observed.news() == {}


async def test_an_operator_that_was_away_measures_a_start_when_it_tells_its_end() -> (
    None
):
    world, observed = World(), Observed()
    async with world.operator():
        await world.add_node()
        await world.add_workspace()
        await eventually(lambda: world.deployment() is not None)
        await world.at_rest()
    async with world.operator():
        await start(world, "first")
    assert observed.news() == {"schedule": (1, 4), "image": (1, 42), "load": (1, 120)}


async def test_a_pod_that_is_not_ready_for_a_while_starts_nothing() -> None:
    world, observed = World(), Observed()
    async with world.operator():
        await world.add_node()
        await world.add_workspace()
        await eventually(lambda: world.deployment() is not None)
        await start(world, "first")
        assert observed.news()
        (told,) = world.deployment()["status"]["conditions"]
        await world.serve(availableReplicas=0)
        await world.until("InferenceReady", "False")
        await world.serve(conditions=[told])
        await world.until("InferenceReady", "True")
        await world.at_rest()
    assert observed.news() == {}
