"""What the webhook would have refused, had it been there."""

import pytest
from structlog.testing import capture_logs

from pykaito.api.validate import violations
from pykaito.operator.errors import InvalidError
from pykaito.operator.objects import Resource
from pykaito.reconcilers.resources import WORKSPACES
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.world import World

pytestmark = pytest.mark.virtual_time

PRESET = {"preset": {"name": "falcon-7b"}}
TWICE = {"source": {"name": "law", "image": "registry/law:1"}}
INVALID = {
    "adapters of one name": {"inference": PRESET | {"adapters": [TWICE, TWICE]}},
    "preset and template": {"inference": PRESET | {"template": {"spec": {}}}},
    "no node": {"resource": {"count": 0}},
    "another shape": {"inference": "falcon-7b"},
}


@pytest.mark.parametrize("name", INVALID)
async def test_it_stalls_with_the_webhooks_sentence_and_nothing_is_made(
    name: str,
) -> None:
    world = World()
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**INVALID[name])
        await world.until_reason("Stalled", "SpecInvalid")
        await world.until_reason("InferenceReady", "SpecInvalid")
        await world.at_rest()
        (fault, *_) = violations(world.workspace())
        assert str(fault) in world.condition("Stalled")["message"]
        assert (world.machines(), world.deployment(), world.service()) == (
            [],
            None,
            None,
        )
        assert len(world.events("SpecInvalid")) == 1


async def test_what_serves_is_left_when_its_spec_turns_invalid_and_back() -> None:
    world = World()
    async with world.operator():
        await world.served()
        before = (world.deployment(), world.service(), world.machines())
        await world.edit_workspace(resource={"count": 0})
        await world.until_reason("Stalled", "SpecInvalid")
        await world.at_rest()
        assert (world.deployment(), world.service(), world.machines()) == before
        await world.edit_workspace(resource={"count": 1})
        await world.until("Ready", "True")
        await world.at_rest()
        assert (world.deployment(), world.service(), world.machines()) == before


async def test_one_that_cannot_hold_its_status_is_told_once_and_holds_up_no_other() -> (
    None
):
    world = World()

    def fault(verb: str, resource: Resource) -> InvalidError | None:
        if (verb, resource) == ("apply", WORKSPACES):
            return InvalidError("inference: must be an object", status=422)
        return None

    with capture_logs() as logs:
        async with world.operator():
            await world.add_workspace(metadata={"name": "odd"}, inference="falcon-7b")
            await world.until_reason("Stalled", "SpecInvalid", "odd")
            world.api.fault = fault
            await world.edit_workspace("odd", inference="falcon-40b", resource=None)
            await eventually(
                lambda: any("cannot be written" in str(entry) for entry in logs)
            )
            world.api.fault = lambda *_: None
            await world.served()
    told = [entry for entry in logs if "cannot be written" in str(entry)]
    assert {entry["event"] for entry in told} == {"reconcile failed for good"}
    assert len(told) <= 2
