"""Pools that nobody wants any more are deleted, and no others."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pykaito.operator.errors import ServerError
from pykaito.operator.objects import Key
from pykaito.provisioners.azure_arm.orphans import is_old, unclaimed
from pykaito.provisioners.azure_arm.pool import CREATED_FORMAT, Pool, ownership
from pykaito.provisioners.naming import instance_name
from tests.unit.provisioners.azure_arm.azure_world import NAME, POOL, AzureWorld

OF = Key("team-a", "phi-0")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OURS = Pool(
    name=instance_name(OF),
    state="Succeeded",
    labels={
        "kaito.sh/machine": instance_name(OF),
        "kaito.sh/creation-timestamp": "2026-01-01T11-50-00Z",
    },
    tags=ownership("here", OF),
)


def test_a_pool_whose_machine_is_not_known_is_unclaimed() -> None:
    assert unclaimed([OURS], "here", []) == {OURS.name: OF}
    assert unclaimed([OURS], "here", [OF]) == {}


@pytest.mark.parametrize(
    "other",
    [
        replace(OURS, tags={**OURS.tags, "kaito-cluster": "there"}),
        replace(OURS, tags={**OURS.tags, "kaito-machine": "phi-1"}),
        replace(OURS, tags={}),
        replace(OURS, labels={}),
        replace(OURS, name="gpupool"),
        replace(OURS, state="Creating"),
        replace(OURS, state="Deleting"),
        replace(OURS, stopped=True),
    ],
)
def test_a_pool_that_is_not_provably_ours_or_not_at_rest_is_left(other: Pool) -> None:
    assert unclaimed([other], "here", []) == {}


@pytest.mark.parametrize(
    ("age", "old"),
    [(timedelta(minutes=9, seconds=59), False), (timedelta(minutes=10), True)],
)
def test_a_pool_is_old_after_ten_minutes(age: timedelta, old: bool) -> None:
    created = (NOW - age).strftime(CREATED_FORMAT)
    labels = {"kaito.sh/creation-timestamp": created}
    assert is_old(replace(OURS, labels=labels), NOW) is old


def test_a_pool_of_no_known_age_is_not_old() -> None:
    assert not is_old(replace(OURS, labels={}), NOW)


@pytest.mark.virtual_time
async def test_a_pool_whose_machine_went_by_force_is_deleted(
    world: AzureWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world.operator():
        await world.add_machine("anchor")
        await world.add_machine()
        await world.until_reason("Ready")
        await world.until_reason("Ready", "anchor")
        await world.lose_machine()
        await asyncio.sleep(400)
        assert POOL in world.cloud.pools  # it is not ten minutes old yet
        await world.until(lambda: POOL not in world.cloud.pools, within=1800)
    assert len(world.arm.requests("delete")) == 1
    assert len(world.cloud.pools) == 1
    assert NAME in capsys.readouterr().out


@pytest.mark.virtual_time
async def test_the_last_pool_whose_machine_went_by_force_is_deleted_too(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        await world.lose_machine()
        await world.until(lambda: world.cloud.pools == {}, within=1800)


@pytest.mark.virtual_time
async def test_an_orphan_from_before_a_restart_is_found_without_any_machine(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
    await world.lose_machine()
    async with world.operator():
        await world.until(lambda: world.cloud.pools == {}, within=1800)


@pytest.mark.virtual_time
async def test_no_pool_is_an_orphan_while_its_machine_cannot_be_looked_up(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine("anchor")
        await world.add_machine()
        await world.until_reason("Ready")
        world.api.fault = lambda verb, resource: (
            ServerError("etcd is away", status=500)
            if (verb, resource.plural) == ("get", "machines")
            else None
        )
        await world.lose_machine()
        await asyncio.sleep(3600)
        assert POOL in world.cloud.pools
        world.api.fault = lambda _verb, _resource: None
        await world.until(lambda: POOL not in world.cloud.pools, within=1800)


@pytest.mark.virtual_time
async def test_no_pool_is_an_orphan_while_the_cluster_is_stopped(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine("anchor")
        await world.add_machine()
        await world.until_reason("Ready")
        await world.until_reason("Ready", "anchor")
        await world.lose_machine()
        world.cloud.stopped = True
        await asyncio.sleep(3600)
        assert world.arm.requests("delete") == []
        world.cloud.stopped = False
        await world.until(lambda: POOL not in world.cloud.pools, within=1800)
