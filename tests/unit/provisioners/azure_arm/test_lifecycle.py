"""A Machine becomes an agent pool, a node, and nothing again."""

import asyncio
from itertools import pairwise

import pytest

from pykaito.operator.objects import NODES
from tests.arm.faults import Cut, Ends, Refuse, Slow
from tests.arm.refusals import broken, in_progress, throttled
from tests.unit.provisioners.azure_arm.azure_world import POOL, SIZE, AzureWorld

pytestmark = pytest.mark.virtual_time


async def test_a_machine_becomes_a_pool_whose_node_makes_it_ready(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Launching")
        await world.until_reason("Ready")
        status = world.status()
    assert world.cloud.births == {POOL: 1}
    assert status["phase"] == "Ready"
    assert status["instance"] == POOL
    assert status["nodeName"].startswith(f"aks-{POOL}-")
    assert status["providerID"].startswith("azure:///subscriptions/")
    assert [entry.status for entry in world.arm.requests("put")] == [201]


async def test_a_machine_that_goes_takes_its_pool_along(world: AzureWorld) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        await world.delete_machine()
        await world.until(lambda: world.cloud.pools[POOL].state == "Deleting")
        assert world.machine() is not None
        await world.until_gone()
    assert world.cloud.pools == {}
    assert world.api.stored(NODES) == []
    assert world.arm.requests("get")[-1].status == 404
    assert len(world.arm.requests("delete")) == 1


async def test_a_create_that_a_restart_interrupts_is_picked_up(
    world: AzureWorld,
) -> None:
    async with world.operator(crash=True):
        await world.add_machine()
        await world.until(lambda: POOL in world.cloud.pools)
    async with world.operator():
        await world.until_reason("Ready")
    assert world.cloud.births == {POOL: 1}
    assert world.status().get("failures", 0) == 0


async def test_a_create_that_was_not_written_down_is_picked_up(
    world: AzureWorld,
) -> None:
    world.script.add("put", Slow(20))
    async with world.operator(crash=True):
        await world.add_machine()
        await world.until(lambda: POOL in world.cloud.pools)
    assert "launchTime" not in world.status()
    async with world.operator():
        await world.until_reason("Ready")
    assert world.cloud.births == {POOL: 1}
    assert world.status().get("failures", 0) == 0


async def test_a_restart_while_azure_is_away_takes_no_node_for_lost(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
    world.script.add("list", Refuse(broken()), times=10)
    async with world.operator():
        await asyncio.sleep(30)
        assert world.condition()["status"] == "True"
        await asyncio.sleep(600)
        assert world.condition()["status"] == "True"
    assert world.cloud.births == {POOL: 1}
    assert world.status().get("failures", 0) == 0


async def test_a_machine_that_goes_while_its_pool_is_created_leaves_none(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until(lambda: POOL in world.cloud.pools)
        await world.delete_machine()
        await world.until(
            lambda: world.condition().get("reason") == "OperationInProgress"
        )
        await world.until_gone()
    assert world.cloud.pools == {}


@pytest.mark.parametrize("after", [False, True])
async def test_a_create_whose_answer_is_lost_makes_one_pool(
    world: AzureWorld, after: bool
) -> None:
    world.script.add("put", Cut(after=after), times=2)
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
    assert world.cloud.births == {POOL: 1}
    assert world.status().get("failures", 0) == 0


@pytest.mark.parametrize("after", [False, True])
async def test_a_delete_whose_answer_is_lost_is_still_one(
    world: AzureWorld, after: bool
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        world.script.add("delete", Cut(after=after), times=2)
        await world.delete_machine()
        await world.until_gone()
    assert world.cloud.pools == {}


async def test_throttling_is_waited_out_as_long_as_azure_says(
    world: AzureWorld,
) -> None:
    world.script.add("put", Refuse(throttled(7)))
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
    refused, taken = world.arm.requests("put")
    assert refused.status == 429
    assert 7 <= taken.at - refused.at < 8
    assert world.status().get("failures", 0) == 0


async def test_throttling_for_long_is_told_and_waited_out(world: AzureWorld) -> None:
    world.script.add("put", Refuse(throttled(120)))
    async with world.operator():
        await world.add_machine()
        await world.until_reason("CloudThrottled")
        await world.until_reason("Ready")
    refused, taken = world.arm.requests("put")
    assert 120 <= taken.at - refused.at < 125


async def test_lists_that_are_throttled_come_no_sooner_than_azure_says(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until(lambda: POOL in world.cloud.pools)
        world.script.add("list", Refuse(throttled(100)))
        await world.until_reason("Ready")
    lists = world.arm.requests("list")
    (refused,) = (n for n, entry in enumerate(lists) if entry.status == 429)
    assert 100 <= lists[refused + 1].at - lists[refused].at < 106


async def test_another_operation_of_the_cluster_is_waited_for(
    world: AzureWorld,
) -> None:
    world.script.add("put", Refuse(in_progress("Updating")), times=3)
    async with world.operator():
        await world.add_machine()
        await world.until_reason("OperationInProgress")
        await world.until_reason("Ready")
    assert world.cloud.births == {POOL: 1}


async def test_clusters_that_make_one_pool_at_a_time_make_all(
    world: AzureWorld,
) -> None:
    world.cloud.one_at_a_time = True
    names = [f"phi-{n}" for n in range(3)]
    async with world.operator():
        for name in names:
            await world.add_machine(name)
        for name in names:
            await world.until_reason("Ready", name, within=1800)
        for name in names:
            await world.delete_machine(name)
        for name in names:
            await world.until_gone(name, within=1800)
    assert sorted(world.cloud.births.values()) == [1, 1, 1]
    assert world.cloud.pools == {}


async def test_a_pool_that_somebody_deletes_is_replaced(world: AzureWorld) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        world.cloud.delete(POOL, Ends(), etag="")
        await world.until(lambda: world.cloud.births[POOL] == 2, within=1800)
        await world.until_reason("Ready")
    assert list(world.cloud.pools) == [POOL]


async def test_a_stopped_cluster_is_no_failure_and_costs_no_pool(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        await world.cloud.stop()
        await asyncio.sleep(7200)
        assert "is stopped" in world.condition()["message"]
        await world.cloud.start()
        await world.until_reason("Ready")
        assert world.arm.requests("delete") == []
    assert world.status().get("failures", 0) == 0
    assert world.cloud.births == {POOL: 1}


async def test_a_change_that_fails_later_costs_no_node_that_works(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        body = {"properties": {"vmSize": SIZE, **world.cloud.pools[POOL].properties}}
        body["properties"]["tags"] = world.cloud.pools[POOL].tags
        ends = Ends(failure=broken())
        world.cloud.put(POOL, body, ends, only_new=False, etag="")
        await asyncio.sleep(900)
        assert world.cloud.pools[POOL].state == "Failed"
        assert world.condition()["reason"] == "Ready"
    assert world.arm.requests("delete") == []


async def test_on_azure_local_a_machine_becomes_a_pool_and_nothing_again(
    arc_world: AzureWorld,
) -> None:
    world = arc_world
    async with world.operator():
        await world.add_machine(instanceType="Standard_NC4_A2")
        await world.until_reason("Ready")
        assert world.status()["providerID"].startswith("moc://")
        await world.delete_machine()
        await world.until_gone()
    assert world.cloud.births == {POOL: 1}
    assert world.cloud.pools == {}


async def test_azure_is_asked_often_only_while_something_is_on_its_way(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await asyncio.sleep(3000)
        assert 9 <= len(world.arm.requests("list")) <= 11
        idle = len(world.arm.requests("list"))
        await world.add_machine()
        await world.until_reason("Ready")
        lists = [entry.at for entry in world.arm.requests("list")][idle:]
        gaps = [b - a for a, b in pairwise(lists)]
        assert len(lists) > 30
        assert max(gaps) < 6
        await asyncio.sleep(30)
        before = len(world.arm.requests("list"))
        await asyncio.sleep(3000)
        after = len(world.arm.requests("list"))
    assert 9 <= after - before <= 11


async def test_an_operator_that_is_told_of_no_cluster_asks_azure_nothing(
    world: AzureWorld,
) -> None:
    del world.environ["AZURE_CLUSTER_NAME"]
    async with world.operator():
        await asyncio.sleep(3000)
    assert world.arm.ledger == []


async def test_a_node_that_joins_before_the_pool_is_done_is_taken(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until(lambda: POOL in world.cloud.pools)
        await world.cloud.on_pool_ready(world.cloud, world.cloud.pools[POOL])
        await world.until_reason("Ready", within=5)
        assert world.cloud.pools[POOL].state == "Creating"


async def test_a_pool_of_another_is_left_alone(world: AzureWorld) -> None:
    theirs = {"properties": {"count": 1, "vmSize": SIZE, "tags": {"team": "b"}}}
    world.cloud.put(POOL, theirs, Ends(seconds=1), only_new=True, etag="")
    async with world.operator():
        await world.add_machine()
        told = await world.until_reason("LaunchFailed")
        assert "is not this operator's" in told["message"]
        await world.delete_machine()
        await world.until_gone()
    assert list(world.cloud.pools) == [POOL]
    assert world.arm.requests("delete") == []


async def test_a_pool_of_another_clusters_operator_is_left_alone(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        world.cloud.pools[POOL].tags["kaito-cluster"] = "another"
        await world.delete_machine()
        await world.until_gone()
    assert list(world.cloud.pools) == [POOL]
    assert world.arm.requests("delete") == []


async def test_a_pool_of_another_size_that_was_left_is_replaced(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine(instanceType="Standard_NC40ads_H100_v5")
        await world.until_reason("Ready")
    await world.lose_machine()
    async with world.operator():
        await world.add_machine()
        await world.until(lambda: world.cloud.births[POOL] == 2)
        await world.until_reason("Ready")
    assert world.cloud.pools[POOL].properties["vmSize"] == SIZE
