"""Models of a hub that answers, or does not."""

import asyncio

import pytest

from pykaito.api.v1beta1 import inference as api
from pykaito.runtime.presets.catalogue import Preset, find_preset
from pykaito.runtime.presets.plan import PlanError, PlanReason
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.world import World

pytestmark = pytest.mark.virtual_time

OF_HUB = {"inference": {"preset": {"name": "tiiuae/falcon-7b-of-mine"}}}


class Hub:
    """Knows one model; ``down``: says so, and that this will pass."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down
        self.asked = 0
        self.revision = ""
        self.newest = "a" * 40

    async def find(self, spec: api.Preset, revision: str) -> Preset | None:
        self.asked += 1
        self.revision = revision
        if self.down:
            raise PlanError(
                PlanReason.PRESET_NOT_FOUND,
                f"inference.preset.name: {spec.name}: the hub does not answer",
                terminal=False,
            )
        commit = revision or self.newest
        return find_preset("falcon-7b").model_copy(update={"revision": commit})


async def test_a_model_of_the_hub_is_served() -> None:
    world = World()
    world.hub = Hub()
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**OF_HUB)
        await eventually(lambda: world.deployment() is not None)


async def test_a_hub_that_is_down_is_told_as_passing_and_asked_again() -> None:
    world = World()
    world.hub = hub = Hub(down=True)
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**OF_HUB)
        await world.until_reason("Ready", "PresetNotFound")
        await world.at_rest()
        assert "does not answer" in world.condition("InferenceReady")["message"]
        assert world.condition("Reconciling")["status"] == "True"
        assert world.condition("Stalled") == {}
        assert world.deployment() is None
        hub.down = False
        await eventually(lambda: world.deployment() is not None, within=300)


async def test_the_hub_is_asked_less_often_the_longer_it_is_down() -> None:
    world = World()
    world.hub = hub = Hub(down=True)
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**OF_HUB)
        await asyncio.sleep(3600)
        assert hub.asked < 60


async def test_what_serves_goes_on_when_the_hub_is_down_after_a_restart() -> None:
    world = World()
    world.hub = Hub()
    async with world.operator():
        await world.served(**OF_HUB)
    before = (world.workspace(), world.deployment())
    world.hub = Hub(down=True)
    async with world.operator():
        await world.at_rest()
        assert (world.workspace(), world.deployment()) == before
        await world.set_node("gpu-0", ready=False)
        await world.until_reason("ResourceReady", "NodeNotReady")


async def test_a_newer_commit_on_the_hub_restarts_nothing() -> None:
    world = World()
    world.hub = hub = Hub()
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**OF_HUB)
        await eventually(lambda: world.deployment() is not None)
    hub.newest = "b" * 40
    before = world.deployment()
    async with world.operator():
        await world.at_rest()
        assert hub.revision == "a" * 40
        assert world.deployment() == before
