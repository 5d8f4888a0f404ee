"""The manager end to end: real queue, controllers, cache and election."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pykaito.operator.cache import Cache
from pykaito.operator.controller import Controller
from pykaito.operator.errors import ServerError
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.leader import LeaderElection, LeadershipLostError
from pykaito.operator.manager import Manager
from pykaito.operator.objects import (
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    Key,
    Resource,
    controller_reference,
)
from pykaito.operator.reconcile import Request, Result
from tests.unit.operator.memory_api import MemoryApi
from tests.unit.operator.virtual_time import (
    VirtualClock,
    VirtualTimeLoop,
    eventually,
    settle,
)

pytestmark = pytest.mark.virtual_time

WIDGETS = Resource("example.com", "v1", "Widget", "widgets")
ELECTION = LeaderElection(namespace="default", name="operator")


class Operator:
    """One replica: makes one ConfigMap for each Widget."""

    name = "widget"

    def __init__(
        self,
        api: MemoryApi,
        identity: str = "a",
        *,
        election: LeaderElection | None = ELECTION,
        **options: Any,
    ) -> None:
        rng = random.Random(identity)  # noqa: S311 -- jitter is no secret
        clock = VirtualClock()
        self.client = Connection(api)
        self.cache = Cache(self.client, clock, rng)
        self.written = WrittenVersions[Request](clock)
        self.widgets = self.cache.informer(WIDGETS)
        self.children = self.cache.informer(CONFIG_MAPS)
        self.events = EventRecorder(
            self.client,
            clock,
            reporting_controller="example.com/widgets",
            reporting_instance=identity,
        )
        self.work = 0.0
        self.reconciled: list[str] = []
        self.running: set[str] = set()
        self.most_at_once = 0
        self.manager = Manager(
            self.client,
            self.cache,
            clock=clock,
            identity=identity,
            leader_election=election,
            expectations=self.written,
            rng=rng,
            metrics_port=None,
            health_port=None,
            **options,
        )
        controller = Controller(self, for_=self.widgets, owns=[self.children])
        self.manager.add(controller)
        self.manager.add_service(self.events, elected=True)
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.manager.run(self.stop))

    async def reconcile(self, request: Request) -> Result | None:
        assert request.name not in self.running, "the same request runs twice"
        self.running.add(request.name)
        self.most_at_once = max(self.most_at_once, len(self.running))
        try:
            await self._reconcile(request)
        finally:
            self.running.discard(request.name)
        self.reconciled.append(request.name)
        return None

    async def _reconcile(self, request: Request) -> None:
        await asyncio.sleep(self.work)
        widget = self.widgets.store.get(Key(request.namespace, request.name))
        if widget is None:
            return
        if not self.children.store.by_index("ownerUID", widget["metadata"]["uid"]):
            # A name that differs each time: a second reconcile on a stale
            # cache would make a second child.
            made = await self.client.create(CONFIG_MAPS, child(widget))
            self.written.note(request, self.children, made)
            self.events.normal(widget, "Created", "made a ConfigMap")

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, 60)


class Connection:
    """A client of its own to the shared server: its own hook before writes."""

    def __init__(self, api: MemoryApi) -> None:
        self._api = api
        self.before_write: Any = None
        self.cut = False

    def __getattr__(self, verb: str) -> Any:
        call = getattr(self._api, verb)
        if verb in {"get", "list"}:
            return self._guarded(call)
        if verb == "watch":
            return call

        async def write(resource: Resource, *args: Any, **options: Any) -> Any:
            if self.before_write is not None:
                self.before_write(resource)
            return await self._guarded(call)(resource, *args, **options)

        return write

    def _guarded(self, call: Any) -> Any:
        async def reach(*args: Any, **options: Any) -> Any:
            if self.cut:
                raise ServerError("unreachable", status=503)
            return await call(*args, **options)

        return reach


def widget(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"namespace": "default", "name": name},
    }


def child(owner: Any) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": "default",
            "name": f"{owner['metadata']['name']}-{loop.time():.6f}",
            "ownerReferences": [controller_reference(owner)],
        },
    }


@pytest.fixture
async def api() -> MemoryApi:
    api = MemoryApi()
    for name in ("w1", "w2", "w3"):
        await api.create(WIDGETS, widget(name))
    return api


@pytest.fixture
async def started() -> AsyncIterator[list[Operator]]:
    """Operators put in here are stopped after the test."""
    operators: list[Operator] = []
    yield operators
    for operator in operators:
        operator.task.cancel()
        await asyncio.gather(operator.task, return_exceptions=True)


def owners(api: MemoryApi) -> list[str]:
    return sorted(
        obj["metadata"]["ownerReferences"][0]["name"] for obj in api.stored(CONFIG_MAPS)
    )


def holder(api: MemoryApi) -> str | None:
    leases = api.stored(LEASES)
    return leases[0]["spec"].get("holderIdentity") if leases else None


async def test_what_exists_and_what_comes_is_reconciled(
    api: MemoryApi, started: list[Operator]
) -> None:
    started.append(Operator(api))
    await eventually(lambda: owners(api) == ["w1", "w2", "w3"], within=5)
    await api.create(WIDGETS, widget("w4"))
    await eventually(lambda: owners(api) == ["w1", "w2", "w3", "w4"], within=5)


async def test_a_child_deleted_by_hand_is_made_again(
    api: MemoryApi, started: list[Operator]
) -> None:
    started.append(Operator(api))
    await eventually(lambda: len(owners(api)) == 3)
    gone = api.stored(CONFIG_MAPS)[0]["metadata"]["name"]
    await api.delete(CONFIG_MAPS, gone, namespace="default")
    await eventually(lambda: owners(api) == ["w1", "w2", "w3"], within=5)


async def test_a_reconcile_waits_until_the_cache_shows_its_last_write(
    api: MemoryApi, started: list[Operator]
) -> None:
    operator = Operator(api)
    started.append(operator)
    await eventually(lambda: len(operator.reconciled) >= 3)
    api.watch_latency[CONFIG_MAPS] = 10
    await api.create(WIDGETS, widget("slow"))
    await eventually(lambda: "slow" in owners(api), within=1)
    before = operator.reconciled.count("slow")
    for number in range(5):
        label = {"metadata": {"labels": {"touched": str(number)}}}
        await api.patch(WIDGETS, "slow", label, namespace="default")
        await asyncio.sleep(1)
        assert operator.reconciled.count("slow") == before
    await asyncio.sleep(300)
    assert operator.reconciled.count("slow") > before
    assert owners(api).count("slow") == 1


async def test_four_workers_share_the_queue(
    api: MemoryApi, started: list[Operator]
) -> None:
    operator = Operator(api, workers=4)
    started.append(operator)
    operator.work = 10
    for number in range(20):
        await api.create(WIDGETS, widget(f"more-{number}"))
    await eventually(lambda: len(owners(api)) == 23, within=600)
    assert operator.most_at_once == 4


async def test_a_long_queue_of_reconciles_that_wait_for_nothing_keeps_the_lease(
    api: MemoryApi, started: list[Operator], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)

    async def think(operator: Operator, request: Request) -> None:
        loop.spend(0.3)
        operator.reconciled.append(request.name)

    monkeypatch.setattr(Operator, "reconcile", think)
    for number in range(100):
        await api.create(WIDGETS, widget(f"more-{number}"))
    operator = Operator(api)
    started.append(operator)
    await eventually(lambda: len(operator.reconciled) == 103)
    await settle()
    assert not operator.task.done(), "the lease was lost"


async def test_a_failing_reconcile_is_retried_until_the_server_is_back(
    api: MemoryApi, started: list[Operator]
) -> None:
    def refuse(verb: str, resource: Resource) -> ServerError | None:
        away = verb == "create" and resource == CONFIG_MAPS
        return ServerError("away", status=500) if away else None

    api.fault = refuse
    started.append(Operator(api))
    await asyncio.sleep(60)
    assert owners(api) == []
    api.fault = lambda *_: None
    await eventually(lambda: owners(api) == ["w1", "w2", "w3"], within=60)


async def test_events_of_reconciles_are_written_before_the_lease_is_released(
    api: MemoryApi,
) -> None:
    operator = Operator(api)
    await eventually(lambda: len(owners(api)) == 3)
    await operator.end()
    assert len(api.stored(EVENTS)) == 3
    assert api.calls[-1] == ("replace", "leases")
    assert holder(api) is None


async def test_stopping_lets_reconciles_finish_while_the_lease_is_renewed(
    api: MemoryApi,
) -> None:
    operator = Operator(api, drain_timeout=60)
    operator.work = 30
    await eventually(lambda: len(operator.running) == 3)
    operator.stop.set()
    await asyncio.sleep(25)
    assert holder(api) == "a"
    assert not operator.task.done()
    await asyncio.wait_for(operator.task, 20)
    assert owners(api) == ["w1", "w2", "w3"]
    assert holder(api) is None


async def test_stopping_cuts_off_what_does_not_finish_in_time(api: MemoryApi) -> None:
    operator = Operator(api, drain_timeout=5)
    operator.work = 100
    await eventually(lambda: len(operator.running) == 3)
    start = asyncio.get_running_loop().time()
    await operator.end()
    assert asyncio.get_running_loop().time() - start == pytest.approx(5, abs=0.5)
    assert owners(api) == []
    assert operator.running == set()
    assert holder(api) is None


async def test_a_follower_keeps_its_cache_warm_and_writes_nothing(
    api: MemoryApi, started: list[Operator]
) -> None:
    leader = Operator(api, "a")
    started.append(leader)
    await eventually(lambda: holder(api) == "a")
    follower = Operator(api, "b")
    started.append(follower)
    await asyncio.sleep(300)
    assert follower.reconciled == []
    assert len(follower.widgets.store) == 3
    await api.create(WIDGETS, widget("w4"))
    await eventually(lambda: len(follower.widgets.store) == 4, within=1)


async def test_a_follower_takes_over_when_the_leader_stops(
    api: MemoryApi, started: list[Operator]
) -> None:
    leader = Operator(api, "a")
    await eventually(lambda: len(owners(api)) == 3)
    follower = Operator(api, "b")
    started.append(follower)
    await asyncio.sleep(10)
    await leader.end()
    await api.create(WIDGETS, widget("w4"))
    took = await eventually(lambda: "w4" in owners(api), within=30)
    assert took < 4
    assert holder(api) == "b"
    assert owners(api) == ["w1", "w2", "w3", "w4"]


async def test_a_follower_takes_over_when_the_leader_dies(
    api: MemoryApi, started: list[Operator]
) -> None:
    leader = Operator(api, "a")
    started.append(leader)
    await eventually(lambda: len(owners(api)) == 3)
    follower = Operator(api, "b")
    started.append(follower)
    await asyncio.sleep(10)
    leader.client.cut = True
    await api.create(WIDGETS, widget("w4"))
    took = await eventually(lambda: holder(api) == "b", within=30)
    assert took > 10
    await eventually(lambda: "w4" in owners(api), within=5)
    assert owners(api) == ["w1", "w2", "w3", "w4"]


async def test_a_lost_lease_ends_the_manager_at_once_with_an_error(
    api: MemoryApi,
) -> None:
    operator = Operator(api, drain_timeout=1000)
    await eventually(lambda: len(owners(api)) == 3)
    operator.work = 500
    await api.create(WIDGETS, widget("late"))
    await eventually(lambda: operator.running == {"late"})
    operator.client.cut = True
    start = asyncio.get_running_loop().time()
    with pytest.raises(LeadershipLostError):
        await operator.task
    assert asyncio.get_running_loop().time() - start <= 10.1
    assert operator.running == set()


async def test_a_process_that_was_frozen_writes_nothing_when_it_wakes(
    api: MemoryApi,
) -> None:
    operator = Operator(api)
    await eventually(lambda: len(owners(api)) == 3)
    operator.work = 1
    await api.create(WIDGETS, widget("late"))
    await eventually(lambda: operator.running == {"late"}, step=0.001)
    api.latency = 0  # a write that is sent takes effect at once
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.spend(60)
    with pytest.raises(LeadershipLostError):
        await operator.task
    assert "late" not in owners(api)


async def test_without_an_election_there_is_no_lease(
    api: MemoryApi, started: list[Operator]
) -> None:
    started.append(Operator(api, election=None))
    await eventually(lambda: len(owners(api)) == 3)
    assert api.stored(LEASES) == []


async def test_stopping_a_candidate_ends_it_without_touching_the_lease(
    api: MemoryApi, started: list[Operator]
) -> None:
    started.append(Operator(api, "a"))
    await eventually(lambda: holder(api) == "a")
    candidate = Operator(api, "b")
    await asyncio.sleep(5)
    await candidate.end()
    assert holder(api) == "a"


async def test_caches_that_never_fill_end_the_manager_and_are_named(
    api: MemoryApi,
) -> None:
    def refuse(verb: str, resource: Resource) -> ServerError | None:
        away = verb == "list" and resource == CONFIG_MAPS
        return ServerError("no such luck", status=500) if away else None

    api.fault = refuse
    operator = Operator(api, sync_timeout=30)
    with pytest.raises(TimeoutError, match=r"configmaps.*no such luck"):
        await operator.task
    assert holder(api) is None


async def test_stopping_while_the_caches_fill_ends_at_once(api: MemoryApi) -> None:
    api.fault = lambda *_: ServerError("away", status=500)
    operator = Operator(api)
    await asyncio.sleep(5)
    start = asyncio.get_running_loop().time()
    await operator.end()
    assert asyncio.get_running_loop().time() - start < 0.1


async def test_a_cache_that_breaks_ends_the_manager(api: MemoryApi) -> None:
    operator = Operator(api)
    await eventually(lambda: len(owners(api)) == 3)

    def breaks(verb: str, _: Resource) -> Any:
        return LookupError("a bug") if verb == "watch" else None

    api.fault = breaks
    with pytest.raises(ExceptionGroup) as raised:
        await operator.task
    assert raised.group_contains(LookupError)
    assert holder(api) is None


class Recorded:
    """A service that notes when it is started and stopped."""

    def __init__(self, name: str, log: list[str], api: MemoryApi) -> None:
        self._name, self._log, self._api = name, log, api

    async def start(self) -> None:
        self._log.append(f"{self._name} up, lease {holder(self._api)}")

    async def stop(self) -> None:
        self._log.append(f"{self._name} down, lease {holder(self._api)}")


async def test_what_starts_first_stops_last_and_writers_live_within_the_lease(
    api: MemoryApi,
) -> None:
    operator = Operator(api)
    log: list[str] = []
    operator.manager.add_service(Recorded("webhook", log, api), elected=False)
    operator.manager.add_service(Recorded("writer", log, api), elected=True)
    await eventually(lambda: len(owners(api)) == 3)
    await operator.end()
    assert log == [
        "webhook up, lease None",
        "writer up, lease a",
        "writer down, lease a",
        "webhook down, lease None",
    ]


async def test_a_service_that_cannot_start_stops_those_before_it(
    api: MemoryApi,
) -> None:
    operator = Operator(api)
    log: list[str] = []

    class Broken(Recorded):
        async def start(self) -> None:
            raise OSError("port taken")

    operator.manager.add_service(Recorded("first", log, api), elected=False)
    operator.manager.add_service(Broken("second", log, api), elected=False)
    with pytest.raises(OSError, match="port taken"):
        await operator.task
    assert log == ["first up, lease None", "first down, lease None"]


async def test_two_controllers_of_one_name_are_refused(
    api: MemoryApi, started: list[Operator]
) -> None:
    operator = Operator(api)
    started.append(operator)
    await settle()
    with pytest.raises(ValueError, match="two controllers named 'widget'"):
        operator.manager.add(Controller(operator, for_=operator.widgets))


async def test_a_manager_without_workers_is_refused(api: MemoryApi) -> None:
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        Operator(api, workers=0)
