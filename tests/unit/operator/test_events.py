"""The recorder of Events: what it writes, and what it survives."""

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from pykaito.operator.errors import (
    ApiError,
    ForbiddenError,
    NotFoundError,
    ServerError,
    TransportError,
)
from pykaito.operator.events import NOTE_LIMIT, EventRecorder
from pykaito.operator.leader import NotLeaderError
from pykaito.operator.objects import EVENTS
from tests.unit.operator.memory_api import MemoryApi
from tests.unit.operator.virtual_time import VirtualClock, settle

pytestmark = pytest.mark.virtual_time

WIDGET = {
    "apiVersion": "example.com/v1",
    "kind": "Widget",
    "metadata": {"namespace": "default", "name": "a", "uid": "uid-a"},
}
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "uid-n"}}


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


async def recorder(api: MemoryApi, **options: Any) -> EventRecorder:
    made = EventRecorder(
        api,
        VirtualClock(),
        reporting_controller="kaito.sh/operator",
        reporting_instance="pod-1",
        **options,
    )
    await made.start()
    return made


def dropped(cause: str) -> float:
    labels = {"cause": cause}
    return REGISTRY.get_sample_value("kaito_events_dropped_total", labels) or 0.0


async def test_an_event_names_its_object_reason_action_and_who_says_so(
    api: MemoryApi,
) -> None:
    events = await recorder(api)
    events.warning(WIDGET, "NodeMissing", "node gpu-1 is not there", action="Launch")
    await events.stop()
    (event,) = api.stored(EVENTS)
    assert event["regarding"] == {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "namespace": "default",
        "name": "a",
        "uid": "uid-a",
    }
    assert event["type"] == "Warning"
    assert event["reason"] == "NodeMissing"
    assert event["action"] == "Launch"
    assert event["note"] == "node gpu-1 is not there"
    assert event["reportingController"] == "kaito.sh/operator"
    assert event["reportingInstance"] == "pod-1"
    assert event["eventTime"] == "2026-01-01T00:16:40.000000Z"
    assert event["metadata"]["namespace"] == "default"
    assert event["metadata"]["name"].startswith("a.")
    assert "series" not in event


async def test_events_of_a_cluster_scoped_object_go_to_the_default_namespace(
    api: MemoryApi,
) -> None:
    events = await recorder(api)
    events.normal(NODE, "Registered", "joined")
    await events.stop()
    (event,) = api.stored(EVENTS)
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["regarding"]


async def test_the_same_event_again_becomes_a_series(api: MemoryApi) -> None:
    events = await recorder(api)
    for _ in range(5):
        events.normal(WIDGET, "Waiting", "for a node")
        await asyncio.sleep(60)
    await events.stop()
    (event,) = api.stored(EVENTS)
    assert event["series"]["count"] == 5
    assert event["series"]["lastObservedTime"] == "2026-01-01T00:20:40.000000Z"
    assert event["eventTime"] == "2026-01-01T00:16:40.000000Z"


async def test_a_burst_costs_two_requests(api: MemoryApi) -> None:
    events = await recorder(api)
    events.normal(WIDGET, "Waiting", "for a node")
    await settle()
    for _ in range(1000):
        events.normal(WIDGET, "Waiting", "for a node")
    await events.stop()
    assert [verb for verb, _ in api.calls] == ["create", "patch"]
    assert api.stored(EVENTS)[0]["series"]["count"] == 1001


@pytest.mark.parametrize(
    ("reason", "message", "obj"),
    [
        ("Other", "for a node", WIDGET),
        ("Waiting", "for two nodes", WIDGET),
        ("Waiting", "for a node", NODE),
    ],
)
async def test_another_reason_message_or_object_is_another_event(
    api: MemoryApi, reason: str, message: str, obj: dict[str, Any]
) -> None:
    events = await recorder(api)
    events.normal(WIDGET, "Waiting", "for a node")
    events.normal(obj, reason, message)
    await events.stop()
    assert len(api.stored(EVENTS)) == 2


async def test_a_series_ends_ten_minutes_after_its_last_repetition(
    api: MemoryApi,
) -> None:
    events = await recorder(api)
    for pause in (590, 590, 610):
        events.normal(WIDGET, "Waiting", "for a node")
        await asyncio.sleep(pause)
    events.normal(WIDGET, "Waiting", "for a node")
    await events.stop()
    first, second = api.stored(EVENTS)
    assert first["series"]["count"] == 3
    assert "series" not in second


async def test_an_event_that_expired_on_the_server_is_told_anew(
    api: MemoryApi,
) -> None:
    events = await recorder(api)
    events.normal(WIDGET, "Waiting", "for a node")
    await asyncio.sleep(1)
    (expired,) = api.stored(EVENTS)
    await api.delete(EVENTS, expired["metadata"]["name"], namespace="default")
    events.normal(WIDGET, "Waiting", "for a node")
    await events.stop()
    (event,) = api.stored(EVENTS)
    assert event["metadata"]["name"] != expired["metadata"]["name"]
    assert event["series"]["count"] == 2


async def test_a_note_is_cut_to_what_the_api_takes(api: MemoryApi) -> None:
    events = await recorder(api)
    events.normal(WIDGET, "Long", "€" * 2000)
    await events.stop()
    note = api.stored(EVENTS)[0]["note"]
    assert len(note.encode()) <= NOTE_LIMIT
    assert note.endswith("€...")


async def test_a_long_name_leaves_room_for_what_makes_it_unique(
    api: MemoryApi,
) -> None:
    events = await recorder(api)
    long = WIDGET | {"metadata": {"namespace": "x", "name": "n" * 253, "uid": "u"}}
    events.normal(long, "Long", "name")
    await events.stop()
    assert len(api.stored(EVENTS)[0]["metadata"]["name"]) == 253


async def test_when_too_many_wait_the_oldest_is_dropped_and_counted(
    api: MemoryApi,
) -> None:
    before = dropped("overflow")
    events = await recorder(api, capacity=10)
    for number in range(25):
        events.normal(WIDGET, "Step", str(number))
    await events.stop()
    assert dropped("overflow") - before == 15
    assert [event["note"] for event in api.stored(EVENTS)] == [
        str(number) for number in range(15, 25)
    ]


async def test_an_event_without_the_lease_is_dropped(api: MemoryApi) -> None:
    before = dropped("refused")
    events = await recorder(api)

    def refuse(_: object) -> None:
        raise NotLeaderError("not the leader")

    api.before_write = refuse
    events.normal(WIDGET, "First", "lost")
    await events.stop()
    assert dropped("refused") - before == 1
    assert api.stored(EVENTS) == []


@pytest.mark.parametrize(
    "error",
    [
        ForbiddenError("namespace is being terminated", status=403),
        NotFoundError("namespace not found", status=404),
        ApiError("bad request", status=400),
    ],
)
async def test_a_refused_event_is_dropped_and_the_next_is_written(
    api: MemoryApi, error: ApiError
) -> None:
    before = dropped("refused")
    events = await recorder(api)
    api.fault = lambda *_: error
    events.normal(WIDGET, "First", "lost")
    await asyncio.sleep(1)
    api.fault = lambda *_: None
    events.normal(WIDGET, "Second", "kept")
    await events.stop()
    assert dropped("refused") - before == 1
    assert [event["reason"] for event in api.stored(EVENTS)] == ["Second"]


async def test_a_server_that_is_away_is_tried_again_three_times(
    api: MemoryApi,
) -> None:
    before = dropped("unavailable")
    events = await recorder(api)
    api.fault = lambda *_: ServerError("away", status=503)
    events.normal(WIDGET, "First", "lost")
    await asyncio.sleep(60)
    assert len(api.calls) == 3
    assert dropped("unavailable") - before == 1
    api.fault = lambda *_: None
    events.normal(WIDGET, "First", "lost")
    await events.stop()
    assert api.stored(EVENTS)[0]["series"]["count"] == 2


async def test_an_event_whose_answer_was_lost_is_not_written_twice(
    api: MemoryApi,
) -> None:
    before = dropped("refused")
    lose = iter([True, False])
    create = api.create

    async def lossy(*args: Any) -> Any:
        answer = await create(*args)
        if next(lose):
            raise TransportError("connection reset")
        return answer

    api.create = lossy
    events = await recorder(api)
    events.normal(WIDGET, "Once", "only")
    await asyncio.sleep(10)
    await events.stop()
    (event,) = api.stored(EVENTS)
    assert "series" not in event
    assert dropped("refused") == before


async def test_recording_never_raises_into_a_reconcile(api: MemoryApi) -> None:
    before = dropped("invalid")
    events = await recorder(api)
    events.normal({}, "Odd", "no metadata")
    events.normal({"metadata": None}, "Odd", "not even an object")
    assert dropped("invalid") - before == 2
    await events.stop()


async def test_the_writer_outlives_an_error_nobody_expected(api: MemoryApi) -> None:
    before = dropped("error")
    events = await recorder(api)

    def refuse(_: object) -> None:
        raise LookupError("a bug")

    api.before_write = refuse
    events.normal(WIDGET, "First", "lost")
    await asyncio.sleep(1)
    api.before_write = None
    events.normal(WIDGET, "Second", "kept")
    await events.stop()
    assert dropped("error") - before == 1
    assert [event["reason"] for event in api.stored(EVENTS)] == ["Second"]


async def test_stopping_writes_what_waits_but_not_for_ever(api: MemoryApi) -> None:
    before = dropped("shutdown")
    events = await recorder(api)
    api.latency = 1
    for number in range(10):
        events.normal(WIDGET, "Step", str(number))
    start = asyncio.get_running_loop().time()
    await events.stop(timeout=5)
    assert asyncio.get_running_loop().time() - start == pytest.approx(5, abs=0.1)
    assert 2 <= len(api.stored(EVENTS)) <= 3
    assert dropped("shutdown") - before >= 7


async def test_stopping_what_never_started_is_harmless(api: MemoryApi) -> None:
    await EventRecorder(
        api, VirtualClock(), reporting_controller="c", reporting_instance="i"
    ).stop()
