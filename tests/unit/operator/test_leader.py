"""One elector at a time: taking, keeping, losing and giving back the lease."""

import asyncio
import itertools
import random

import pytest
from prometheus_client import REGISTRY

from pykaito.operator.errors import ServerError
from pykaito.operator.leader import (
    LeaderElection,
    LeaderElector,
    LeadershipLostError,
    NotLeaderError,
    default_identity,
)
from pykaito.operator.objects import LEASES, PODS
from tests.unit.operator.memory_api import MemoryApi
from tests.unit.operator.virtual_time import VirtualClock, VirtualTimeLoop, eventually

pytestmark = pytest.mark.virtual_time

CONFIG = LeaderElection(namespace="kaito", name="operator")


def elector(api: MemoryApi, identity: str, *, wall_skew: float = 0) -> LeaderElector:
    return LeaderElector(
        api,
        VirtualClock(wall_skew=wall_skew),
        CONFIG,
        identity=identity,
        rng=random.Random(identity),  # noqa: S311 -- jitter is no secret
    )


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


def spec(api: MemoryApi) -> dict[str, object]:
    (lease,) = api.stored(LEASES)
    spec: dict[str, object] = lease["spec"]
    return spec


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_the_first_candidate_creates_the_lease_and_leads(api: MemoryApi) -> None:
    a = elector(api, "a")
    assert not a.is_leader()
    await a.acquire()
    assert a.is_leader()
    assert spec(api)["holderIdentity"] == "a"
    assert spec(api)["leaseDurationSeconds"] == 15


async def test_renewals_keep_the_lease_and_its_acquire_time(api: MemoryApi) -> None:
    a = elector(api, "a")
    await a.acquire()
    first = spec(api)
    renewal = asyncio.create_task(a.renew())
    for _ in range(100):
        await asyncio.sleep(1)
        assert a.is_leader()
    renewal.cancel()
    assert spec(api)["acquireTime"] == first["acquireTime"]
    assert spec(api)["renewTime"] != first["renewTime"]
    assert spec(api).get("leaseTransitions", 0) == 0


async def test_renewals_come_every_two_seconds_with_jitter(api: MemoryApi) -> None:
    a = elector(api, "a")
    await a.acquire()
    times = []
    api.fault = lambda verb, _: times.append(now()) if verb == "replace" else None
    renewal = asyncio.create_task(a.renew())
    await asyncio.sleep(60)
    renewal.cancel()
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert all(1.6 <= pause <= 2.41 for pause in pauses)
    assert len({round(pause, 3) for pause in pauses}) > 5


async def test_a_candidate_waits_while_the_lease_is_renewed(api: MemoryApi) -> None:
    a, b = elector(api, "a"), elector(api, "b")
    await a.acquire()
    renewal = asyncio.create_task(a.renew())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(b.acquire(), 300)
    assert b.holder == "a"
    renewal.cancel()


@pytest.mark.parametrize("wall_skew", [-86400, 0, 86400])
async def test_a_dead_leader_is_succeeded_after_the_lease_duration_whatever_the_wall_clocks_say(  # noqa: E501 -- a sentence
    api: MemoryApi, wall_skew: float
) -> None:
    a, b = elector(api, "a"), elector(api, "b", wall_skew=wall_skew)
    await a.acquire()
    renewal = asyncio.create_task(a.renew())
    candidate = asyncio.create_task(b.acquire())
    await asyncio.sleep(60)
    renewal.cancel()
    died = now()
    await candidate
    assert b.is_leader()
    assert 15 - 2.4 <= now() - died <= 15 + 2.4 + 0.1
    assert spec(api)["leaseTransitions"] == 1


async def test_a_leader_stops_before_anybody_may_succeed_it(api: MemoryApi) -> None:
    a, b = elector(api, "a"), elector(api, "b")
    await a.acquire()
    candidate = asyncio.create_task(b.acquire())
    stopped = await eventually(lambda: not a.is_leader(), step=0.01)
    assert stopped == pytest.approx(10, abs=0.1)
    assert not b.is_leader()
    await candidate


async def test_a_released_lease_is_taken_at_the_next_try(api: MemoryApi) -> None:
    a, b = elector(api, "a"), elector(api, "b")
    await a.acquire()
    candidate = asyncio.create_task(b.acquire())
    await asyncio.sleep(5)
    await a.release()
    assert not a.is_leader()
    assert "holderIdentity" not in spec(api)
    released = now()
    await candidate
    assert now() - released <= 2.5


async def test_releasing_a_lease_that_somebody_else_holds_leaves_it(
    api: MemoryApi,
) -> None:
    a, b = elector(api, "a"), elector(api, "b")
    await a.acquire()
    await b.acquire()
    await a.release()
    assert b.is_leader()
    assert spec(api)["holderIdentity"] == "b"


async def test_a_candidate_that_never_wrote_has_nothing_to_release(
    api: MemoryApi,
) -> None:
    await elector(api, "a").release()
    assert api.calls == []


async def test_a_release_that_fails_is_tried_again_and_never_raises(
    api: MemoryApi,
) -> None:
    a = elector(api, "a")
    await a.acquire()
    api.fault = lambda *_: ServerError("down", status=503)
    before = len(api.calls)
    await a.release()
    assert len(api.calls) - before == 2
    assert not a.is_leader()


async def test_a_leader_that_cannot_reach_the_server_stops_at_the_renew_deadline(
    api: MemoryApi,
) -> None:
    a = elector(api, "a")
    await a.acquire()
    start = now()
    api.fault = lambda *_: ServerError("down", status=503)
    with pytest.raises(LeadershipLostError, match="not renewed within 10 s"):
        await a.renew()
    assert now() - start == pytest.approx(10, abs=0.1)
    assert not a.is_leader()


async def test_a_leader_whose_requests_hang_stops_at_the_renew_deadline(
    api: MemoryApi,
) -> None:
    a = elector(api, "a")
    await a.acquire()
    start = now()
    api.latency = 1000
    with pytest.raises(LeadershipLostError):
        await a.renew()
    assert now() - start == pytest.approx(10, abs=0.1)


async def test_one_lost_request_does_not_cost_the_lease(api: MemoryApi) -> None:
    a = elector(api, "a")
    await a.acquire()
    renewal = asyncio.create_task(a.renew())
    api.latency = 1000
    await asyncio.sleep(3)
    api.latency = 0.001
    await asyncio.sleep(60)
    assert a.is_leader()
    assert not renewal.done()
    renewal.cancel()


async def test_a_leader_that_finds_another_holder_stops_at_once(api: MemoryApi) -> None:
    a = elector(api, "a")
    await a.acquire()
    (lease,) = api.stored(LEASES)
    lease["spec"] |= {"holderIdentity": "somebody", "renewTime": "now"}
    await api.replace(LEASES, lease)
    start = now()
    with pytest.raises(LeadershipLostError, match="held by 'somebody'"):
        await a.renew()
    assert now() - start < 3


async def test_a_leader_whose_loop_was_blocked_may_not_write_when_it_wakes(
    api: MemoryApi,
) -> None:
    a = elector(api, "a")
    await a.acquire()
    api.before_write = a.check
    renewal = asyncio.create_task(a.renew())
    await asyncio.sleep(5)
    a.check(PODS)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.spend(20)
    with pytest.raises(NotLeaderError, match="a does not hold the lease"):
        await api.delete(PODS, "pod", namespace="default")
    with pytest.raises(LeadershipLostError):
        await renewal


async def test_the_lease_itself_may_be_written_before_it_is_held(
    api: MemoryApi,
) -> None:
    a = elector(api, "a")
    api.before_write = a.check
    await a.acquire()
    assert a.is_leader()


async def test_a_lease_deleted_by_hand_is_created_again(api: MemoryApi) -> None:
    a = elector(api, "a")
    await a.acquire()
    renewal = asyncio.create_task(a.renew())
    await api.delete(LEASES, "operator", namespace="kaito")
    await asyncio.sleep(5)
    assert a.is_leader()
    assert spec(api)["holderIdentity"] == "a"
    renewal.cancel()


async def test_a_lease_without_a_spec_is_taken(api: MemoryApi) -> None:
    await api.create(LEASES, {"metadata": {"namespace": "kaito", "name": "operator"}})
    a = elector(api, "a")
    await a.acquire()
    assert spec(api)["holderIdentity"] == "a"


async def test_the_holders_own_lease_duration_is_respected(api: MemoryApi) -> None:
    await api.create(
        LEASES,
        {
            "metadata": {"namespace": "kaito", "name": "operator"},
            "spec": {"holderIdentity": "old", "leaseDurationSeconds": 60},
        },
    )
    start = now()
    await elector(api, "a").acquire()
    assert now() - start == pytest.approx(60, abs=0.5)


async def test_a_label_on_the_lease_is_no_renewal(api: MemoryApi) -> None:
    a, b = elector(api, "a"), elector(api, "b")
    await a.acquire()
    candidate = asyncio.create_task(b.acquire())
    start = now()
    while not candidate.done():
        await asyncio.sleep(3)
        label = {"metadata": {"labels": {"touched": str(now())}}}
        await api.patch(LEASES, "operator", label, namespace="kaito")
        assert now() - start < 30


async def test_acquiring_outlasts_an_api_server_that_is_away(api: MemoryApi) -> None:
    a = elector(api, "a")
    api.fault = lambda *_: ServerError("down", status=503)
    acquiring = asyncio.create_task(a.acquire())
    await asyncio.sleep(600)
    assert not acquiring.done()
    api.fault = lambda *_: None
    await asyncio.wait_for(acquiring, 3)


async def test_the_metric_says_who_leads(api: MemoryApi) -> None:
    def status() -> float | None:
        labels = {"name": "operator"}
        return REGISTRY.get_sample_value("leader_election_master_status", labels)

    a = elector(api, "a")
    assert status() == 0
    await a.acquire()
    assert status() == 1
    await a.release()
    assert status() == 0


@pytest.mark.parametrize(
    "timing",
    [
        {"lease_duration": 10},
        {"renew_deadline": 2.3},
        {"retry_period": 0},
        {"lease_duration": 5, "renew_deadline": 10},
    ],
)
def test_a_timing_that_cannot_work_is_refused(timing: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="lease_duration > renew_deadline >"):
        LeaderElection(namespace="kaito", name="operator", **timing)


def test_two_processes_on_one_host_have_two_identities() -> None:
    assert default_identity() != default_identity()
