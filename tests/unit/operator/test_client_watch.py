"""Watches through a real kr8s session, and what breaks them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pykaito.operator.client import Client
from pykaito.operator.errors import (
    ApiError,
    ExpiredError,
    ForbiddenError,
    ServerError,
    TooManyRequestsError,
    TransportError,
)
from pykaito.operator.objects import PODS, WatchEvent
from tests.unit.operator.api_server import (
    Answer,
    ApiServer,
    Reply,
    Silence,
    Watch,
    failure,
    kubeconfig,
    serve,
    status,
)

ALL_PODS = "/api/v1/pods"
SILENCE_SECONDS = 3.0


def added(name: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns"}
    return {"type": "ADDED", "object": {"metadata": metadata, **fields}}


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serve() as running:
        yield running


@pytest.fixture
async def client(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    connected = await Client.connect(kubeconfig=kubeconfig(tmp_path, server.url))
    yield connected
    await connected.close()


@pytest.fixture
async def impatient(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    """A client that soon takes a silent watch for a dead one."""
    connected = await Client.connect(
        kubeconfig=kubeconfig(tmp_path, server.url),
        watch_silence_seconds=SILENCE_SECONDS,
    )
    yield connected
    await connected.close()


async def watched(
    server: ApiServer, client: Client, *replies: Reply
) -> tuple[list[WatchEvent], ApiError | None]:
    """Return what one watch yields, and what it ends with."""
    server.on("GET", ALL_PODS, *replies)
    events: list[WatchEvent] = []
    watch = client.watch(PODS, resource_version="5", timeout_seconds=300)
    try:
        async for event in watch:
            events.append(event)  # noqa: PERF401 - an error keeps what came before
    except ApiError as error:
        return events, error
    return events, None


async def test_a_watch_asks_for_bookmarks_a_version_and_an_end(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", "/api/v1/namespaces/ns/pods", Watch())
    watch = client.watch(
        PODS,
        namespace="ns",
        label_selector="a=b",
        field_selector="spec.nodeName=n",
        resource_version="5",
        timeout_seconds=301,
    )
    assert [event async for event in watch] == []
    assert server.received[0].query == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "5",
        "timeoutSeconds": "301",
        "labelSelector": "a=b",
        "fieldSelector": "spec.nodeName=n",
    }


async def test_a_watch_of_metadata_asks_for_nothing_else(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", ALL_PODS, Watch())
    watch = client.watch(
        PODS, metadata_only=True, resource_version="5", timeout_seconds=301
    )
    assert [event async for event in watch] == []
    assert server.received[0].headers["Accept"] == (
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    )


async def test_a_watch_that_the_server_ends_returns(
    server: ApiServer, client: Client
) -> None:
    events, error = await watched(server, client, Watch((added("a"), added("b"))))
    assert [event.object["metadata"]["name"] for event in events] == ["a", "b"]
    assert error is None
    assert len(server.received) == 1


async def test_bookmarks_are_passed_on(server: ApiServer, client: Client) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    events, _ = await watched(server, client, Watch((bookmark,)))
    assert events == [WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "9"}})]


async def test_an_expired_version_in_the_stream_is_one_error_after_one_request(
    server: ApiServer, client: Client
) -> None:
    expired = {"type": "ERROR", "object": status(410, "Expired", "too old")}
    events, error = await watched(server, client, Watch((added("a"), expired)))
    assert len(events) == 1
    assert isinstance(error, ExpiredError)
    assert len(server.received) == 1


async def test_an_expired_version_refused_at_once_is_the_same_error(
    server: ApiServer, client: Client
) -> None:
    _, error = await watched(server, client, failure(410, "Expired"))
    assert isinstance(error, ExpiredError)
    assert len(server.received) == 1


async def test_any_other_error_event_is_an_error_of_its_code(
    server: ApiServer, client: Client
) -> None:
    event = {"type": "ERROR", "object": status(500, "InternalError", "etcd")}
    _, error = await watched(server, client, Watch((event,)))
    assert isinstance(error, ServerError)
    assert str(error) == "500 InternalError: etcd"


async def test_an_error_event_with_no_status_is_still_an_api_error(
    server: ApiServer, client: Client
) -> None:
    _, error = await watched(server, client, Watch(({"type": "ERROR"},)))
    assert isinstance(error, ApiError)


@pytest.mark.parametrize("separator", ["\u0085", "\u2028", "\u2029", "\x1c", "\x0b"])
async def test_line_breaks_of_unicode_inside_strings_survive(
    server: ApiServer, client: Client, separator: str
) -> None:
    text = f"one{separator}two"
    events, error = await watched(server, client, Watch((added("a", text=text),)))
    assert error is None
    assert events[0].object["text"] == text


async def test_events_come_whole_however_the_bytes_are_cut(
    server: ApiServer, client: Client
) -> None:
    line = b'{"type":"ADDED","object":{"metadata":{"name":"\xc3\xa9"}}}\n'
    pieces = (line[:20], line[20:48], line[48:] + line + line[:5], line[5:], b"\n")
    events, error = await watched(server, client, Watch(pieces))
    assert error is None
    assert [event.object["metadata"]["name"] for event in events] == ["é"] * 3


async def test_an_object_larger_than_every_buffer_comes_whole(
    server: ApiServer, client: Client
) -> None:
    text = "x" * 1_500_000
    events, error = await watched(server, client, Watch((added("a", text=text),)))
    assert error is None
    assert events[0].object["text"] == text


async def test_a_stream_that_ends_inside_an_event_is_a_broken_connection(
    server: ApiServer, client: Client
) -> None:
    _, error = await watched(server, client, Watch((b'{"type":"ADDED",',)))
    assert isinstance(error, TransportError)


async def test_a_connection_that_is_cut_is_told_from_a_clean_end(
    server: ApiServer, client: Client
) -> None:
    events, error = await watched(server, client, Watch((added("a"),), then="cut"))
    assert len(events) == 1
    assert isinstance(error, TransportError)


async def test_a_connection_that_falls_silent_is_found_out(
    server: ApiServer, impatient: Client
) -> None:
    events, error = await watched(server, impatient, Watch((added("a"),), then="hang"))
    assert len(events) == 1
    assert isinstance(error, TransportError)


async def test_a_server_that_accepts_a_watch_and_says_nothing_is_found_out(
    server: ApiServer, impatient: Client
) -> None:
    _, error = await watched(server, impatient, Silence())
    assert isinstance(error, TransportError)


async def test_a_busy_server_is_not_asked_again_by_the_watch_itself(
    server: ApiServer, client: Client
) -> None:
    busy = failure(429, "TooManyRequests", headers={"Retry-After": "1"})
    _, error = await watched(server, client, busy)
    assert isinstance(error, TooManyRequestsError)
    assert error.retry_after == 1.0
    assert len(server.received) == 1


async def test_a_forbidden_request_leaves_a_running_watch_alone(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", ALL_PODS, Watch((added("a"), added("b"))))
    server.on("GET", "/api/v1/namespaces/ns/pods/x", failure(403, "Forbidden"))
    server.on("GET", "/api/v1/namespaces/ns/pods/y", failure(401, "Unauthorized"))
    watch = client.watch(PODS, resource_version="5", timeout_seconds=300)
    seen = [(await anext(watch)).object["metadata"]["name"]]
    with pytest.raises(ForbiddenError):
        await client.get(PODS, "x", "ns")
    with pytest.raises(ApiError):
        await client.get(PODS, "y", "ns")
    seen += [event.object["metadata"]["name"] async for event in watch]
    assert seen == ["a", "b"]


async def test_a_watch_closed_early_frees_its_connection(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", ALL_PODS, Watch((added("a"),), then="hang"))
    watch = client.watch(PODS, resource_version="5", timeout_seconds=300)
    async with contextlib.aclosing(watch):
        await anext(watch)
    server.on("GET", "/api/v1/namespaces/ns/pods/a", Answer({"kind": "Pod"}))
    assert await client.get(PODS, "a", "ns") == {"kind": "Pod"}


async def test_watches_and_requests_run_at_the_same_time(
    server: ApiServer, tmp_path: Path
) -> None:
    # As patient as it is: so many at once are slow where much else runs.
    client = await Client.connect(kubeconfig=kubeconfig(tmp_path, server.url))
    server.on("GET", ALL_PODS, Watch((added("a"),), then="hang"))
    server.on("GET", "/api/v1/namespaces/ns/pods/a", Answer({"kind": "Pod"}))
    watches = [
        client.watch(PODS, resource_version="5", timeout_seconds=300) for _ in range(30)
    ]
    await asyncio.gather(*(anext(watch) for watch in watches))
    found = await asyncio.gather(*(client.get(PODS, "a", "ns") for _ in range(60)))
    assert found == [{"kind": "Pod"}] * 60
    for watch in watches:
        await watch.aclose()
    await client.close()
