"""Pod templates of the user's own."""

from typing import Any

import pytest

from pykaito.operator.errors import ApiError, InvalidError
from pykaito.operator.objects import DEPLOYMENTS, Resource
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.world import World

pytestmark = pytest.mark.virtual_time

SERVER = {
    "name": "server",
    "image": "registry/server:1",
    "env": [{"name": "MODE", "value": "fast"}],
    "resources": {"limits": {"nvidia.com/gpu": "1"}},
}


def template(**spec: Any) -> dict[str, Any]:
    return {"inference": {"template": {"spec": {"containers": [SERVER], **spec}}}}


def containers(world: World) -> Any:
    return world.template()["spec"]["containers"]


async def test_a_template_is_served_as_it_was_written() -> None:
    world = World()
    async with world.operator():
        await world.served(**template())
        assert containers(world) == [SERVER]
        assert world.service()["spec"]["ports"][0]["targetPort"] == 5000
        assert "gpu-0" in str(world.template()["spec"]["affinity"])


async def test_a_field_that_a_template_loses_goes_from_the_workload() -> None:
    world = World()
    async with world.operator():
        await world.served(**template(hostIPC=True))
        await world.edit_workspace(inference={"template": {"spec": {"hostIPC": None}}})
        await eventually(lambda: "hostIPC" not in world.template()["spec"])
        await world.at_rest()


async def test_what_the_api_server_fills_in_makes_no_round() -> None:
    world = World()
    async with world.operator():
        await world.served(**template())
        await world.edit_deployment(
            {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}},
            manager="kube-apiserver",
        )
        before = len(world.api.writes)
        await world.serve()
        await world.at_rest()
        assert ("apply", "deployments") not in world.api.writes[before + 2 :]


async def test_a_template_that_is_no_pod_is_told() -> None:
    world = World()

    def fault(verb: str, resource: Resource) -> ApiError | None:
        if (verb, resource) == ("apply", DEPLOYMENTS):
            return InvalidError("spec.template.spec.containers[0].image: Required")
        return None

    world.api.fault = fault
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**template())
        await world.until_reason("InferenceReady", "ApplyRefused")
        assert "containers[0].image" in world.condition("Ready")["message"]
