"""The webhook server over real TLS."""

import asyncio
import io
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest
from prometheus_client import REGISTRY

from pykaito.operator.admission import (
    AdmissionRequest,
    AdmissionResponse,
    Cause,
    allow,
    refuse,
)
from pykaito.operator.certificates import KeyPair, issue
from pykaito.operator.clock import SystemClock
from pykaito.operator.webhook import MAX_BODY, WebhookServer, allowed_seconds

HOST = "pykaito-webhook.default.svc"
PAIR, AUTHORITY = issue(HOST, datetime.now(UTC))
PATH = "/validate"


class Decider:
    """A handler that each test tells what to do."""

    def __init__(self) -> None:
        self.decide: Callable[[AdmissionRequest], AdmissionResponse] = lambda _: allow()
        self.wait = asyncio.Event()
        self.wait.set()
        self.asked = asyncio.Event()

    async def __call__(
        self, request: AdmissionRequest, *, seconds: float
    ) -> AdmissionResponse:
        assert 0 < seconds <= 24
        self.asked.set()
        await self.wait.wait()
        return self.decide(request)


@pytest.fixture
def decider() -> Decider:
    return Decider()


@pytest.fixture
async def server(decider: Decider) -> AsyncIterator[WebhookServer]:
    server = WebhookServer(0, {PATH: decider}, SystemClock(), linger=0)
    server.use(PAIR)
    await server.start()
    yield server
    await server.stop()


def client(authority: bytes = AUTHORITY) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cadata=authority.decode())
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context),
        timeout=aiohttp.ClientTimeout(total=20),
    )


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with client() as http:
        yield http


def review(uid: str = "u1") -> bytes:
    return orjson.dumps(
        {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": uid,
                "kind": {"group": "g", "version": "v1", "kind": "Thing"},
                "operation": "CREATE",
                "name": "a",
                "object": {},
            },
        }
    )


async def post(
    http: aiohttp.ClientSession,
    server: WebhookServer,
    body: bytes | None = None,
    *,
    path: str = PATH,
    content_type: str = "application/json",
) -> tuple[int, Any]:
    async with http.post(
        f"https://127.0.0.1:{server.port}{path}",
        data=io.BytesIO(review() if body is None else body),
        headers={"Content-Type": content_type},
        server_hostname=HOST,
    ) as answer:
        raw = await answer.read()
        if answer.content_type == "application/json":
            return answer.status, orjson.loads(raw)["response"]
        return answer.status, raw.decode()


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"webhook": PATH, **labels}) or 0.0


async def test_a_review_is_answered_over_tls(
    server: WebhookServer, http: aiohttp.ClientSession
) -> None:
    assert await post(http, server) == (200, {"uid": "u1", "allowed": True})


async def test_a_refusal_carries_its_causes(
    server: WebhookServer, http: aiohttp.ClientSession, decider: Decider
) -> None:
    decider.decide = lambda request: refuse(request, [Cause("spec.a", "is wrong")])
    status, response = await post(http, server)
    assert status == 200
    assert not response["allowed"]
    assert response["status"]["details"]["causes"][0]["field"] == "spec.a"


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\x00\xff", b"[1,2"])
async def test_a_malformed_review_is_a_bad_request(
    server: WebhookServer, http: aiohttp.ClientSession, body: bytes
) -> None:
    status, text = await post(http, server, body)
    assert status == 400
    assert text


async def test_another_content_type_is_a_bad_request(
    server: WebhookServer, http: aiohttp.ClientSession
) -> None:
    status, text = await post(http, server, content_type="text/plain")
    assert (status, "expected application/json" in text) == (400, True)


async def test_a_body_without_end_is_not_read(
    server: WebhookServer, http: aiohttp.ClientSession
) -> None:
    status, text = await post(http, server, b" " * (MAX_BODY + 1))
    assert (status, str(MAX_BODY) in text) == (413, True)


async def test_a_body_that_never_comes_is_given_up(
    server: WebhookServer, http: aiohttp.ClientSession
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield review()[:10]
        await asyncio.sleep(10)

    async with http.post(
        f"https://127.0.0.1:{server.port}{PATH}?timeout=1s",
        data=slowly(),
        headers={"Content-Type": "application/json"},
        server_hostname=HOST,
    ) as answer:
        assert answer.status == 408


async def test_other_paths_and_methods_are_not_served(
    server: WebhookServer, http: aiohttp.ClientSession
) -> None:
    assert (await post(http, server, path="/"))[0] == 404
    url = f"https://127.0.0.1:{server.port}{PATH}"
    async with http.get(url, server_hostname=HOST) as answer:
        assert answer.status == 405


async def test_a_handler_that_breaks_lets_the_object_through_with_a_warning(
    server: WebhookServer, http: aiohttp.ClientSession, decider: Decider
) -> None:
    def broken(_: AdmissionRequest) -> AdmissionResponse:
        raise TimeoutError("of its own")

    before = metric("controller_runtime_webhook_panics_total")
    decider.decide = broken
    status, response = await post(http, server)
    assert (status, response["allowed"]) == (200, True)
    assert "the operator's webhook failed" in response["warnings"][0]
    assert metric("controller_runtime_webhook_panics_total") == before + 1


async def test_a_handler_that_takes_too_long_lets_the_object_through(
    server: WebhookServer, http: aiohttp.ClientSession, decider: Decider
) -> None:
    decider.wait.clear()
    status, response = await post(http, server, path=f"{PATH}?timeout=4s")
    assert (status, response["allowed"]) == (200, True)
    assert "took too long" in response["warnings"][0]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("5s", 4), ("30s", 24), ("", 8), ("1m0s", 8), ("-5s", 8), ("5s5s", 8), ("٣s", 8)],
)
def test_the_api_server_says_how_long_it_waits(said: str, seconds: float) -> None:
    assert allowed_seconds({"timeout": said} if said else {}) == seconds


async def test_requests_are_counted_under_the_usual_names(
    server: WebhookServer, http: aiohttp.ClientSession
) -> None:
    requests = "controller_runtime_webhook_requests_total"
    latency = "controller_runtime_webhook_latency_seconds_count"
    good, bad = metric(requests, code="200"), metric(requests, code="400")
    timed = metric(latency)
    await post(http, server)
    await post(http, server, b"{}")
    assert metric(requests, code="200") == good + 1
    assert metric(requests, code="400") == bad + 1
    assert metric(latency) == timed + 2
    assert metric("controller_runtime_webhook_requests_in_flight") == 0


async def test_without_a_certificate_it_is_not_ready_and_no_handshake_succeeds(
    decider: Decider, http: aiohttp.ClientSession
) -> None:
    server = WebhookServer(0, {PATH: decider}, SystemClock(), linger=0)
    assert server.ready() == "no certificate was loaded yet"
    await server.start()
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(http, server)
    server.use(PAIR)
    assert server.ready() is None
    assert (await post(http, server))[0] == 200
    await server.stop()


async def test_a_certificate_without_a_port_is_not_ready(decider: Decider) -> None:
    server = WebhookServer(0, {PATH: decider}, SystemClock(), linger=0)
    server.use(PAIR)
    assert server.ready() == "the port is not bound yet"


async def test_a_new_certificate_is_for_new_connections_and_open_ones_stay(
    server: WebhookServer, http: aiohttp.ClientSession
) -> None:
    await post(http, server)
    pair, authority = issue(HOST, datetime.now(UTC))
    server.use(pair)
    # The pool reuses its connection, whose certificate the client has accepted.
    assert (await post(http, server))[0] == 200
    async with client() as distrusting:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await post(distrusting, server)
    async with client(authority) as trusting:
        assert (await post(trusting, server))[0] == 200


async def test_a_pair_that_does_not_match_leaves_the_old_one_in_place(
    server: WebhookServer, http: aiohttp.ClientSession
) -> None:
    other, _ = issue(HOST, datetime.now(UTC))
    with pytest.raises(ssl.SSLError):
        server.use(KeyPair(other.certificate, PAIR.key))
    assert (await post(http, server))[0] == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_older_than_1_2_is_refused(server: WebhookServer) -> None:
    context = ssl.create_default_context(cadata=AUTHORITY.decode())
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=context, server_hostname=HOST
        )


async def test_what_is_under_way_is_answered_before_it_stops(
    server: WebhookServer, http: aiohttp.ClientSession, decider: Decider
) -> None:
    decider.wait.clear()
    asking = asyncio.create_task(post(http, server))
    await decider.asked.wait()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    decider.wait.set()
    assert (await asking)[0] == 200
    await stopping
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(http, server)


class HeldClock:
    """The machine's clocks, on which a wait ends when a test says so."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.waits: asyncio.Queue[float] = asyncio.Queue()
        self.over = asyncio.Event()

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        self.waits.put_nowait(seconds)
        await self.over.wait()


async def test_it_goes_on_answering_for_a_moment_when_told_to_stop(
    decider: Decider, http: aiohttp.ClientSession
) -> None:
    clock = HeldClock()
    server = WebhookServer(0, {PATH: decider}, clock, linger=0.5)
    server.use(PAIR)
    await server.start()
    stopping = asyncio.create_task(server.stop())
    assert await clock.waits.get() == 0.5
    assert (await post(http, server))[0] == 200
    clock.over.set()
    await stopping


async def test_a_port_that_is_taken_is_named(decider: Decider) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        server = WebhookServer(port, {PATH: decider}, SystemClock())
        with pytest.raises(OSError, match=f"cannot listen on port {port}"):
            await server.start()
        await server.stop()
