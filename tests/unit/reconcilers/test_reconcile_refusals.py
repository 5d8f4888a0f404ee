"""What the API server does not take is told in a condition, and tried again."""

import asyncio
import itertools

import pytest

from pykaito.operator.errors import (
    ApiError,
    ForbiddenError,
    InvalidError,
    error_from_status,
)
from pykaito.operator.objects import DEPLOYMENTS, SERVICES, Resource
from pykaito.reconcilers.resources import MACHINES
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.world import NAME, World

pytestmark = pytest.mark.virtual_time

EXCEEDED = "ResourceQuota objects of namespace default is exceeded"
QUOTA = "exceeded quota: objects, requested: pods=1, used: pods=3, limited: pods=3"


def refuse(world: World, resource: Resource, error: ApiError | None) -> None:
    def fault(verb: str, asked: Resource) -> ApiError | None:
        return error if (verb, asked) == ("apply", resource) else None

    world.api.fault = fault


@pytest.mark.parametrize("kind", [DEPLOYMENTS, SERVICES])
async def test_an_object_of_someone_else_is_left_as_it_is(kind: Resource) -> None:
    theirs = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {"theirs": True},
    }
    world = World()
    before = await world.api.create(kind, theirs)
    async with world.operator():
        await world.add_node()
        await world.add_workspace()
        await world.until_reason("InferenceReady", "NameTaken")
        await world.at_rest()
        assert world.api.find(kind, NAME) == before
        assert f"another {kind.kind} {NAME}" in world.condition("Ready")["message"]
        assert len(world.events("NameTaken")) == 1
        await world.api.delete(kind, NAME, namespace="default")
        await world.edit_workspace(metadata={"annotations": {"touched": "1"}})
        await eventually(lambda: world.deployment() is not None)


@pytest.mark.parametrize("kind", [DEPLOYMENTS, SERVICES])
async def test_what_an_earlier_workspace_of_the_name_left_is_waited_out(
    kind: Resource,
) -> None:
    workspace = {"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "name": NAME}
    owner = workspace | {"uid": "earlier", "controller": True}
    left = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": NAME,
            "namespace": "default",
            "labels": {"kaito.sh/workspace": NAME},
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": 1,
            "template": {"spec": {"containers": [{"name": NAME, "image": "old:1"}]}},
        },
    }
    world = World()
    before = await world.api.create(kind, left)
    async with world.operator():
        await world.add_node()
        await world.add_workspace()
        await world.until("ResourceReady", "True")
        await asyncio.sleep(5)
        assert world.api.find(kind, NAME) == before
        await world.api.delete(kind, NAME, namespace="default")
        await world.until("InferenceReady", "False")
        await eventually(lambda: world.deployment() is not None)
        await world.serve()
        await world.until("Ready", "True")
        assert world.events("NameTaken") == []
        await world.at_rest()


async def test_a_workload_beyond_a_quota_is_told_and_tried_again() -> None:
    world = World()
    async with world.operator():
        refuse(world, DEPLOYMENTS, ForbiddenError(QUOTA, status=403))
        await world.add_node()
        await world.add_workspace()
        await world.until_reason("InferenceReady", "QuotaExceeded")
        assert EXCEEDED in world.condition("Ready")["message"]
        assert world.condition("Stalled") == {}
        refuse(world, DEPLOYMENTS, None)
        await eventually(lambda: world.deployment() is not None, within=120)
        await world.until_reason("InferenceReady", "WorkspaceInferenceStatusPending")
        await world.at_rest()


async def test_a_refused_machine_is_told_in_the_servers_words_and_tried_again() -> None:
    world = World()
    async with world.operator():
        refuse(world, MACHINES, InvalidError("no such field", status=422))
        await world.add_node()
        await world.add_workspace()
        await world.until_reason("ResourceReady", "ApplyRefused")
        assert "no such field" in world.condition("Stalled")["message"]
        refuse(world, MACHINES, None)
        await eventually(lambda: len(world.machines()) == 1, within=120)
        await world.until("ResourceReady", "True")


async def test_a_field_that_the_server_cannot_read_is_told() -> None:
    message = "v1.Deployment: quantities must match the regular expression"
    world = World()
    async with world.operator():
        refuse(world, DEPLOYMENTS, error_from_status({"code": 400, "message": message}))
        await world.add_node()
        await world.add_workspace()
        await world.until_reason("InferenceReady", "ApplyRefused")
        assert message in world.condition("Stalled")["message"]


@pytest.mark.parametrize("kind", [DEPLOYMENTS, MACHINES])
async def test_refusals_that_read_differently_are_no_reason_for_haste(
    kind: Resource,
) -> None:
    tries = itertools.count(1)

    def fault(verb: str, asked: Resource) -> ApiError | None:
        if (verb, asked) != ("apply", kind):
            return None
        order = "cpu, memory" if next(tries) % 2 else "memory, cpu"
        return InvalidError(f"no such units: {order}", status=422)

    world = World()
    world.api.fault = fault
    async with world.operator():
        await world.add_node()
        await world.add_workspace()
        await world.until("Stalled", "True")
        await asyncio.sleep(1)
        assert next(tries) < 20


async def test_pods_that_nobody_may_create_are_told() -> None:
    world = World()
    async with world.operator():
        await world.served()
        failure = {"type": "ReplicaFailure", "status": "True", "message": QUOTA}
        status = {"conditions": [failure], "availableReplicas": 0}
        await world.api.patch(
            DEPLOYMENTS,
            NAME,
            {"status": status},
            namespace="default",
            subresource="status",
        )
        await world.until_reason("InferenceReady", "QuotaExceeded")
        await eventually(lambda: EXCEEDED in world.condition("Ready")["message"])
