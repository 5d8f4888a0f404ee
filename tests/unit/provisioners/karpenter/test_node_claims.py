"""A NodeClaim is asked for once, followed, missed when it goes, and given back."""

import asyncio
from typing import Any

import pytest

from pykaito.operator.errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from pykaito.operator.objects import EVENTS, NODES, Key, Resource
from pykaito.provisioners.errors import (
    InsufficientCapacityError,
    InvalidRequestError,
    LaunchError,
    NotInstalledError,
    QuotaError,
)
from pykaito.provisioners.karpenter.manifests import node_claim
from pykaito.provisioners.karpenter.node_claims import NodeClaims
from pykaito.provisioners.karpenter.objects import NODE_CLAIMS
from pykaito.provisioners.karpenter.settings import Settings
from tests.unit.provisioners.karpenter.karpenter_world import (
    KEY,
    KarpenterWorld,
    failed,
)
from tests.unit.provisioners.karpenter.machines import (
    CLAIM_NAME,
    INSTANCE,
    condition,
    conditions,
    machine,
)

pytestmark = pytest.mark.virtual_time

CAPACITY = "InsufficientCapacityError"
DONE = conditions(launched=True, registered=True, initialized=True)


@pytest.fixture
def world() -> KarpenterWorld:
    return KarpenterWorld(NodeClaims, "karpenter")


async def launched(world: KarpenterWorld, karpenter: Any) -> Any:
    """Launch, and have Karpenter take the NodeClaim up."""
    await karpenter.launch(world.machine)
    await world.take_up()
    return world.stored(NODE_CLAIMS)


async def test_nothing_exists_before_it_is_launched(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        seen = await karpenter.observe(world.machine)
        assert not seen.exists
        assert seen.failure is None


async def test_a_launch_creates_the_claim_and_has_the_cache_waited_for(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        made = world.stored(NODE_CLAIMS)
        assert made["spec"] == node_claim(world.machine, Settings())["spec"]
        assert world.noted == [(KEY, INSTANCE)]


async def test_a_launch_that_is_repeated_asks_for_nothing_more(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        before = world.stored(NODE_CLAIMS)
        await karpenter.launch(world.machine)
        assert world.stored(NODE_CLAIMS) == before
        assert world.noted == [(KEY, INSTANCE)] * 2


async def test_a_launch_that_the_next_process_repeats_asks_for_nothing_more(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
    async with world.operator() as karpenter:
        assert (await karpenter.observe(world.machine)).exists
        await karpenter.launch(world.machine)
    assert len(world.api.stored(NODE_CLAIMS)) == 1


async def test_a_claim_of_another_machine_is_told_and_left_alone(
    world: KarpenterWorld,
) -> None:
    other = {"annotations": {"kaito.sh/machine-name": "team-b/x"}}
    metadata = {"name": INSTANCE, "labels": {"kaito.sh/machine": INSTANCE}}
    await world.api.create(NODE_CLAIMS, {"metadata": metadata | other})
    async with world.operator() as karpenter:
        assert not (await karpenter.observe(world.machine)).exists
        with pytest.raises(LaunchError, match="exists and belongs to Machine team-b/x"):
            await karpenter.launch(world.machine)
        assert await karpenter.release(world.machine)
    assert world.stored(NODE_CLAIMS) is not None


async def test_a_claim_that_nobody_marked_is_told_to_be_foreign(
    world: KarpenterWorld,
) -> None:
    await world.api.create(NODE_CLAIMS, {"metadata": {"name": INSTANCE}})
    async with world.operator() as karpenter:
        with pytest.raises(LaunchError, match=f"{CLAIM_NAME} exists and is foreign"):
            await karpenter.launch(world.machine)


async def test_what_cannot_be_asked_for_is_not_asked_for(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        with pytest.raises(InvalidRequestError):
            await karpenter.launch(machine(labels={"kubernetes.io/foo": "x"}))
        assert not world.calls("create", "nodeclaims")


async def test_what_the_api_server_refuses_is_the_api_servers_error(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        world.api.fault = lambda verb, _: (
            InvalidError("spec.requirements: no", status=422)
            if verb == "create"
            else None
        )
        with pytest.raises(InvalidError):
            await karpenter.launch(world.machine)


async def test_a_claim_becomes_a_node(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.launched.ok) == (True, False)
        await world.tell(conditions(launched=True))
        seen = await karpenter.observe(world.machine)
        assert (seen.launched.ok, seen.registered.ok) == (True, False)
        await world.join()
        await world.tell(DONE, nodeName="gpu-0", providerID="azure:///gpu-0")
        seen = await karpenter.observe(world.machine)
        assert seen.initialized.ok
        assert (seen.node_name, seen.provider_id) == ("gpu-0", "azure:///gpu-0")
        assert seen.failure is seen.look_again is None


@pytest.mark.parametrize("of", ["claim", "node"])
async def test_what_was_made_wakes_its_machine(world: KarpenterWorld, of: str) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        world.woken.clear()
        await (world.join() if of == "node" else world.tell(conditions()))
        assert world.woken == {KEY}


async def test_observing_what_the_cache_knows_asks_the_server_nothing(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        await world.join()
        await world.tell(DONE, nodeName="gpu-0")
        before = len(world.api.calls)
        assert (await karpenter.observe(world.machine)).initialized.ok
        assert len(world.api.calls) == before


async def test_a_claim_that_the_cache_does_not_show_yet_is_not_missed(
    world: KarpenterWorld,
) -> None:
    world.api.watch_latency[NODE_CLAIMS] = 60
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure, seen.look_again) == (True, None, None)
        assert seen.instance == INSTANCE


async def test_want_of_capacity_is_told_though_the_claim_is_gone_at_once(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        made = await launched(world, karpenter)
        await world.warn(made, CAPACITY, f"NodeClaim {INSTANCE} event: sold out")
        await world.delete()
        await world.finish()
        assert world.stored(NODE_CLAIMS) is None
        seen = await failed(karpenter, world)
        assert not seen.exists
        assert isinstance(seen.failure, InsufficientCapacityError)
        assert str(seen.failure) == (
            "Karpenter could not launch Standard_NC24ads_A100_v4 as "
            f"{CLAIM_NAME}: sold out"
        )


async def test_a_claim_on_its_way_out_has_failed_and_still_exists(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        made = await launched(world, karpenter)
        await world.warn(made, CAPACITY, "sold out")
        await world.delete()
        seen = await failed(karpenter, world)
        assert seen.exists
        assert isinstance(seen.failure, InsufficientCapacityError)


async def test_the_event_that_explains_may_come_after_the_deletion(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        made = await launched(world, karpenter)
        await world.delete()
        await world.finish()
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure, seen.look_again) == (True, None, 1.0)
        await world.warn(made, CAPACITY, "sold out")
        seen = await karpenter.observe(world.machine)
        assert isinstance(seen.failure, InsufficientCapacityError)


async def test_events_are_not_listed_again_once_the_reason_is_known(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        made = await launched(world, karpenter)
        await world.warn(made, CAPACITY, "sold out")
        await world.delete()
        await failed(karpenter, world)
        before = world.calls("list", "events")
        await failed(karpenter, world)
        assert world.calls("list", "events") == before


async def test_the_last_condition_of_a_claim_outlives_it(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        told = condition("Launched", "Unknown", "LaunchFailed", "QuotaExceeded: 24")
        await world.tell([told])
        await world.delete()
        await world.finish()
        seen = await karpenter.observe(world.machine)
        assert isinstance(seen.failure, QuotaError)
        assert not world.calls("list", "events")


@pytest.mark.parametrize(
    ("done", "told"),
    [
        ({}, "see whether node class 'default' (AKSNodeClass.karpenter.azure.com) is"),
        ({"launched": True}, "was deleted before its machine joined the cluster"),
        ({"launched": True, "registered": True}, "and node 'gpu-0' with it: by a"),
    ],
)
async def test_a_claim_that_went_without_a_word_is_told_by_how_far_it_was(
    world: KarpenterWorld, done: dict[str, bool], told: str
) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        await world.tell(conditions(**done), nodeName="gpu-0")
        await world.delete()
        await world.finish()
        assert told in str((await failed(karpenter, world)).failure)


async def test_a_node_that_karpenter_gives_up_is_told_with_its_warning(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        made = await launched(world, karpenter)
        await world.tell(DONE, nodeName="gpu-0")
        await world.warn(made, "SpotInterrupted", "Spot interruption warning was sent")
        await world.delete()
        assert str((await failed(karpenter, world)).failure) == (
            f"Karpenter gave up Standard_NC24ads_A100_v4 as {CLAIM_NAME}: Spot "
            "interruption warning was sent"
        )


async def test_events_that_cannot_be_listed_cost_nothing_but_the_reason(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        await world.delete()

        def fault(_: str, resource: Resource) -> ForbiddenError | None:
            return ForbiddenError("no", status=403) if resource == EVENTS else None

        world.api.fault = fault
        assert type((await failed(karpenter, world)).failure) is LaunchError


async def test_the_next_process_finds_a_claim_on_its_way_out(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        made = await launched(world, karpenter)
        await world.warn(made, CAPACITY, "sold out")
    await world.delete()
    async with world.operator() as karpenter:
        seen = await failed(karpenter, world)
        assert isinstance(seen.failure, InsufficientCapacityError)


async def test_a_claim_that_is_launched_anew_has_not_failed(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        await world.delete()
        await failed(karpenter, world)
        await karpenter.launch(world.machine)
        await world.moment()
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure) == (True, None)


async def test_a_claim_that_still_leaves_is_not_launched_anew(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        await world.delete()
        with pytest.raises(LaunchError, match="earlier try is still being deleted"):
            await karpenter.launch(world.machine)


async def test_a_release_waits_for_karpenters_finalizer(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        await world.tell(DONE, nodeName="gpu-0")
        assert not await karpenter.release(world.machine)
        assert world.stored(NODE_CLAIMS)["metadata"]["deletionTimestamp"]
        assert not await karpenter.release(world.machine)
        assert world.calls("delete", "nodeclaims") == 1
        world.woken.clear()
        await world.finish()
        assert world.woken == {KEY}
        assert await karpenter.release(world.machine)
        assert not (await karpenter.observe(world.machine)).exists


async def test_what_is_given_back_has_not_failed(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        assert not await karpenter.release(world.machine)
        await world.moment()
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure, seen.look_again) == (True, None, None)
        await world.finish()
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure) == (False, None)


async def test_a_claim_that_karpenter_never_saw_is_gone_at_once(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        assert await karpenter.release(world.machine)


async def test_a_claim_that_is_made_anew_meanwhile_is_not_given_back(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)

        def replace(verb: str, _: Resource) -> None:
            if verb == "delete":
                anew = world.api._objects[NODE_CLAIMS][Key("", INSTANCE)]
                anew["metadata"]["uid"] = "of-another"

        world.api.fault = replace
        assert not await karpenter.release(world.machine)
        assert "deletionTimestamp" not in world.stored(NODE_CLAIMS)["metadata"]


async def test_a_claim_that_goes_meanwhile_is_given_back(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)

        def remove(verb: str, _: Resource) -> None:
            if verb == "delete":
                del world.api._objects[NODE_CLAIMS][Key("", INSTANCE)]

        world.api.fault = remove
        assert await karpenter.release(world.machine)


async def test_a_release_finds_a_claim_that_the_cache_does_not_show(
    world: KarpenterWorld,
) -> None:
    world.api.watch_latency[NODE_CLAIMS] = 60
    async with world.operator() as karpenter:
        await karpenter.launch(world.machine)
        await world.api.patch(
            NODE_CLAIMS, INSTANCE, {"metadata": {"finalizers": ["x"]}}
        )
        assert not await karpenter.release(world.machine)
        assert world.stored(NODE_CLAIMS)["metadata"]["deletionTimestamp"]


async def test_without_karpenter_the_operator_runs_and_says_what_to_install(
    world: KarpenterWorld,
) -> None:
    world.without_karpenter()
    async with world.operator() as karpenter:
        seen = await karpenter.observe(world.machine)
        assert not seen.exists
        with pytest.raises(NotInstalledError) as caught:
            await karpenter.launch(world.machine)
        assert caught.value.retry_after == 30
        assert "Karpenter's CRDs are not installed" in str(caught.value)
        assert "annotation kaito.sh/provisioner" in str(caught.value)


async def test_without_karpenter_nothing_has_to_be_given_back(
    world: KarpenterWorld,
) -> None:
    world.without_karpenter()
    async with world.operator() as karpenter:
        assert await karpenter.release(world.machine)
        assert world.calls("get", "nodeclaims") == 1


async def test_karpenter_that_is_installed_later_is_used(world: KarpenterWorld) -> None:
    world.without_karpenter()
    async with world.operator() as karpenter:
        with pytest.raises(NotInstalledError):
            await karpenter.launch(world.machine)
        world.without_karpenter(missing=False)
        await karpenter.launch(world.machine)
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.look_again) == (True, 10.0)
        await asyncio.sleep(120)
        await world.join()
        await world.tell(DONE, nodeName="gpu-0")
        assert world.woken == {KEY}
        seen = await karpenter.observe(world.machine)
        assert (seen.initialized.ok, seen.look_again) == (True, None)


async def test_a_cache_that_has_not_synced_does_not_say_that_nothing_exists(
    world: KarpenterWorld,
) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)

    def fault(verb: str, resource: Resource) -> NotFoundError | None:
        broken = verb == "list" and resource == NODE_CLAIMS
        return NotFoundError("not yet", status=404) if broken else None

    world.api.fault = fault
    async with world.operator() as karpenter:
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure, seen.look_again) == (True, None, 10.0)


async def test_what_a_machine_left_behind_is_not_kept_in_memory(
    world: KarpenterWorld,
) -> None:
    async with world.operator(machine=False) as karpenter:
        await karpenter.launch(world.machine)
        await world.moment()
        await world.delete()
        # Nobody has use for it, so its end is no failure of anybody's.
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.failure) == (False, None)


async def test_a_node_that_goes_away_wakes_its_machine(world: KarpenterWorld) -> None:
    async with world.operator() as karpenter:
        await launched(world, karpenter)
        await world.join()
        await world.tell(DONE, nodeName="gpu-0")
        world.woken.clear()
        await world.delete(NODES, "gpu-0")
        assert world.woken == {KEY}
        seen = await karpenter.observe(world.machine)
        assert (seen.exists, seen.registered.reason) == (True, "NodeNotFound")
