"""A NodePool of one node is asked for once, and Karpenter keeps its node there."""

import asyncio
from typing import Any

import pytest

from pykaito.operator.objects import NODES
from pykaito.provisioners.errors import LaunchError, NotInstalledError
from pykaito.provisioners.karpenter.node_pools import NodePools
from pykaito.provisioners.karpenter.objects import NODE_CLAIMS, NODE_POOLS
from tests.unit.provisioners.karpenter.karpenter_world import (
    FINALIZER,
    KEY,
    KarpenterWorld,
    failed,
)
from tests.unit.provisioners.karpenter.machines import (
    INSTANCE,
    claim,
    condition,
    conditions,
    node,
)

pytestmark = pytest.mark.virtual_time

POOL_NAME = f"NodePool {INSTANCE!r}"
STATIC_CAPACITY = "Karpenter makes one where its feature gate StaticCapacity is on"
SERVES = "if it does not, see whether it runs, and serves the group of the node class"
DONE = conditions(launched=True, registered=True, initialized=True)


@pytest.fixture
def world() -> KarpenterWorld:
    return KarpenterWorld(NodePools, "karpenter_nodepool")


async def add_claim(
    world: KarpenterWorld, name: str, conditions: Any = (), on: str = ""
) -> Any:
    """Make a NodeClaim as Karpenter does for a NodePool."""
    made = claim(conditions, name, **({"nodeName": on} if on else {}))
    pool = world.stored(NODE_POOLS)
    made["metadata"] |= {
        "finalizers": [FINALIZER],
        "creationTimestamp": f"2026-01-01T00:00:0{len(world.api.stored(NODE_CLAIMS))}Z",
        "ownerReferences": [
            {
                "kind": "NodePool",
                "name": INSTANCE,
                "uid": pool["metadata"]["uid"],
                "controller": True,
            }
        ],
    }
    made = await world.api.create(NODE_CLAIMS, made)
    if on:
        await world.api.create(NODES, node(on))
    await world.moment()
    return made


async def test_a_launch_makes_one_pool_and_no_claim(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await karpenter.launch(world.machine)
        assert world.stored(NODE_POOLS)["spec"]["replicas"] == 1
        assert world.noted == [(KEY, INSTANCE)] * 2
        assert not world.api.stored(NODE_CLAIMS)


@pytest.mark.parametrize(
    ("told_by_karpenter", "reason", "told"),
    [
        (
            [],
            "Launching",
            f"Karpenter has not looked at {POOL_NAME} yet; {SERVES}",
        ),
        (
            [condition("Ready", "True")],
            "Launching",
            f"{POOL_NAME} is Ready and has no NodeClaim yet; {STATIC_CAPACITY}",
        ),
        (
            [
                condition("Ready", "False", "UnhealthyDependents", "NodeClassReady=F"),
                condition("NodeClassReady", "False", "NodeClassNotFound", "not there"),
            ],
            "TargetNotFound",
            f"{POOL_NAME} is not Ready: not there",
        ),
        (
            [
                condition("Ready", "False", "UnhealthyDependents"),
                condition("ValidationSucceeded", "Unknown", "AwaitingReconciliation"),
            ],
            "Launching",
            f"Karpenter has not accepted {POOL_NAME} yet",
        ),
        (
            [
                condition("Ready", "False", "UnhealthyDependents"),
                condition("ValidationSucceeded", "False", "NodePoolValidationFailed"),
            ],
            "LaunchFailed",
            f"{POOL_NAME} is not Ready: NodePoolValidationFailed",
        ),
    ],
)
async def test_a_pool_without_claims_says_what_stands_in_the_way(
    world: KarpenterWorld, told_by_karpenter: Any, reason: str, told: str
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        await world.tell(told_by_karpenter, NODE_POOLS)
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure) == (True, None)
        assert (seen.launched.reason, seen.launched.message) == (reason, told)


async def test_the_pools_claim_becomes_the_machines_node(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        world.woken.clear()
        await add_claim(world, "a", DONE, on="gpu-0")
        assert world.woken == {KEY}
        seen = await karpenter.observe(world.machine)
        assert seen.initialized.ok
        assert (seen.node_name, seen.instance) == ("gpu-0", INSTANCE)


async def test_a_node_that_is_replaced_serves_until_the_new_one_does(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        await add_claim(world, "a", DONE, on="gpu-0")
        await add_claim(world, "b", conditions(launched=True))
        assert (await karpenter.observe(world.machine)).node_name == "gpu-0"
        await world.join("gpu-1")
        await world.tell(DONE, name="b", nodeName="gpu-1")
        assert (await karpenter.observe(world.machine)).node_name == "gpu-0"
        await world.delete(name="a")
        seen = await karpenter.observe(world.machine)
        assert (seen.node_name, seen.initialized.ok) == ("gpu-1", True)
        assert seen.failure is None


async def test_why_the_last_claim_failed_is_told_while_karpenter_tries_the_next(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        first = await add_claim(world, "a", conditions())
        await world.warn(first, "InsufficientCapacityError", "sold out")
        await world.delete(name="a")
        await world.finish(name="a")
        await add_claim(world, "b", conditions())
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure) == (True, None)
        assert seen.launched.reason == "InsufficientCapacity"
        assert seen.launched.message.endswith(": sold out; Karpenter tries again")
        await world.tell(conditions(launched=True), name="b")
        seen = await karpenter.observe(world.machine)
        assert seen.launched.ok


async def test_an_event_that_comes_after_the_claims_end_is_looked_for_again(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        first = await add_claim(world, "a", conditions())
        await world.delete(name="a")
        await world.finish(name="a")
        seen = await karpenter.observe(world.machine)
        assert seen.launched.reason == "Launching"
        assert seen.look_again is not None
        await world.warn(first, "InsufficientCapacityError", "sold out")
        await asyncio.sleep(seen.look_again)
        seen = await karpenter.observe(world.machine)
        assert seen.launched.reason == "InsufficientCapacity"
        assert seen.look_again is None


async def test_a_claim_that_was_launched_leaves_no_failure_behind(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        first = await add_claim(world, "a", conditions())
        await world.warn(first, "InsufficientCapacityError", "sold out")
        await world.delete(name="a")
        await world.finish(name="a")
        await add_claim(world, "b", conditions(launched=True))
        await world.delete(name="b")
        await world.finish(name="b")
        await add_claim(world, "c", conditions())
        seen = await karpenter.observe(world.machine)
        assert seen.launched.message == "Karpenter is launching NodeClaim 'c'"


async def test_a_pool_that_is_launched_anew_has_no_failure_of_the_last_one(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        first = await add_claim(world, "a", conditions())
        await world.warn(first, "InsufficientCapacityError", "sold out")
        await world.delete(name="a")
        await world.finish(name="a")
        assert await karpenter.release(world.machine)
        await karpenter.launch(world.machine)
        await world.moment()
        seen = await karpenter.observe(world.machine)
        assert seen.launched.reason == "Launching"


async def test_a_pool_that_somebody_deletes_has_failed(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        await add_claim(world, "a", DONE, on="gpu-0")
        await world.delete(NODE_POOLS)
        seen = await failed(karpenter, world)
        # Its NodeClaim is still there, and is given back before another try.
        assert seen.exists
        assert isinstance(seen.failure, LaunchError)
        assert f"{POOL_NAME} was deleted" in str(seen.failure)


async def test_a_release_waits_until_the_pools_claims_are_gone(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        await add_claim(world, "a", DONE, on="gpu-0")
        assert not await karpenter.release(world.machine)
        assert world.stored(NODE_POOLS) is None
        await world.moment()
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure) == (True, None)
        assert not await karpenter.release(world.machine)
        world.woken.clear()
        await world.finish(name="a")
        assert world.woken == {KEY}
        assert await karpenter.release(world.machine)


async def test_a_claim_of_another_machine_is_not_waited_for(
    world: KarpenterWorld,
) -> None:
    other = claim(DONE, "x")
    other["metadata"]["annotations"] = {"kaito.sh/machine-name": "team-b/x"}
    await world.api.create(NODE_CLAIMS, other)
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        assert not (await karpenter.observe(world.machine)).launched.ok
        assert await karpenter.release(world.machine)


async def test_without_karpenter_the_operator_runs_and_gives_back(
    world: KarpenterWorld,
) -> None:
    world.without_karpenter()
    async with world.operator() as karpenter:
        with pytest.raises(NotInstalledError, match=r"nodepools\.karpenter\.sh"):
            await karpenter.launch(world.machine)
        assert not (await karpenter.observe(world.machine)).exists
        assert await karpenter.release(world.machine)


async def test_claims_that_the_cache_has_not_listed_are_asked_for(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        await add_claim(world, "a", DONE, on="gpu-0")
    world.without_karpenter()
    async with world.operator() as karpenter:
        world.without_karpenter(missing=False)
        seen = await karpenter.observe(world.machine)
        assert (seen.node_name, seen.look_again) == ("gpu-0", 10.0)
        await asyncio.sleep(120)
        seen = await karpenter.observe(world.machine)
        assert (seen.node_name, seen.look_again) == ("gpu-0", None)
