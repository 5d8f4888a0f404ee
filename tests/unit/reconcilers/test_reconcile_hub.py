"""Models of a hub that answers, or does not."""

import asyncio
from typing import Any

import pytest

from pykaito.api.v1beta1 import inference as api
from pykaito.reconcilers.hub.answers import Answers
from pykaito.reconcilers.hub.errors import hub_unreachable
from pykaito.runtime.presets.catalogue import Preset, find_preset
from pykaito.runtime.presets.plan import PlanError, PlanReason
from tests.unit.operator.virtual_time import VirtualClock, eventually
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

    async def find(self, spec: api.Preset, revision: str, **_: Any) -> Preset | None:
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


class SilentHub:
    """Knows the models of one organisation; of all others nothing comes back."""

    def __init__(self) -> None:
        self.answers = Answers(VirtualClock(), held=2)

    async def find(
        self, spec: api.Preset, revision: str, *, asker: str, patient: bool
    ) -> Preset | None:
        async def ask() -> Preset:
            if spec.name.startswith("known/"):
                return find_preset("falcon-7b").model_copy(
                    update={"revision": "a" * 40}
                )
            await asyncio.sleep(14)
            raise hub_unreachable(spec.name, "https://hub.example", "silence")

        if "/" not in spec.name:
            return None
        return await self.answers.get(
            (spec.name, revision), ask, asker=asker, patient=patient
        )


def named(name: str, namespace: str = "default") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}}


async def test_two_hundred_models_that_do_not_answer_hold_up_nobody_else() -> None:
    world = World()
    world.hub = SilentHub()
    async with world.operator():
        await world.add_node()
        for number in range(200):
            await world.add_workspace(
                **named(f"silent-{number}", "theirs"),
                inference={"preset": {"name": f"theirs/model-{number}"}},
            )
        await asyncio.sleep(60)
        await world.add_workspace(inference={"preset": {"name": "falcon-7b"}})
        await eventually(lambda: world.deployment() is not None, within=5)
        await world.add_workspace(
            **named("of-hub"), inference={"preset": {"name": "known/model"}}
        )
        await eventually(lambda: world.deployment("of-hub") is not None, within=60)
