"""Pods are asked over real connections; what they do stays within bounds."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pykaito.reconcilers.inference.loading.asking import MOST_BYTES, over_http

BODY = json.dumps({"stage": "loading the weights", "progress": 0.8}).encode()
LOADING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s"
#: Of a test that has to run into it.
SOON = 0.2

Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each connection as told, and keeps what it was asked."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.asked: list[str] = []
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        async with await asyncio.start_server(self._handle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}/health"
            yield self

    async def _handle(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await self._serve(writer)
        writer.close()


def saying(answer: bytes) -> Server:
    """Return a server that says the same each time."""

    async def serve(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return Server(serve)


def dripping(begin: bytes, drop: bytes) -> Server:
    """Return a server that says a little now and then, without end."""

    async def serve(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(SOON / 20)

    return Server(serve)


def loading(body: bytes, *headers: bytes) -> bytes:
    head, _, _ = (LOADING % (len(body), b"")).partition(b"\r\n\r\n")
    return b"\r\n".join((head, *headers, b"", body))


async def asked(server: Server, patience: float = 5.0) -> bytes | None:
    async with server.running(), over_http(patience) as ask:
        return await ask(server.url)


async def test_what_a_server_says_that_loads_is_returned() -> None:
    server = saying(loading(BODY))
    assert await asked(server) == BODY
    (request,) = server.asked
    assert request.startswith("GET /health HTTP/1.1\r\n")


async def test_several_are_asked_at_once_and_each_has_its_own_answer() -> None:
    bodies = [b"%d" % number for number in range(20)]
    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(saying(loading(body)).running())
            for body in bodies
        ]
        ask = await stack.enter_async_context(over_http())
        found = await asyncio.gather(*(ask(server.url) for server in servers))
    assert found == bodies


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"500 Oh"])
async def test_one_that_does_not_say_that_it_loads_says_nothing(status: bytes) -> None:
    answer = loading(BODY).replace(b"503 Service Unavailable", status)
    assert await asked(saying(answer)) == b""


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary"])
async def test_a_redirect_leads_nowhere(status: bytes) -> None:
    async with saying(loading(BODY)).running() as elsewhere:
        moved = loading(b"", b"Location: " + elsewhere.url.encode())
        answer = moved.replace(b"503 Service Unavailable", status)
        assert await asked(saying(answer)) == b""
        assert elsewhere.asked == []


async def test_a_cookie_is_not_brought_back() -> None:
    server = saying(loading(BODY, b"Set-Cookie: a=b"))
    async with server.running(), over_http() as ask:
        assert [await ask(server.url) for _ in range(2)] == [BODY, BODY]
    assert len(server.asked) == 2
    assert not any("cookie" in request.lower() for request in server.asked)


async def test_a_proxy_of_the_environment_is_passed_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with saying(loading(b"the proxy's")).running() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert await asked(saying(loading(BODY))) == BODY
        assert proxy.asked == []


async def test_a_body_beyond_the_limit_is_none_whatever_its_length_is_said_to_be() -> (
    None
):
    just = b" " * (MOST_BYTES - len(BODY)) + BODY
    assert await asked(saying(loading(just))) == just
    assert await asked(saying(loading(b" " + just))) == b""
    lied = LOADING % (1 << 40, b"x" * (1 << 16))
    assert await asked(saying(lied)) == b""


async def test_a_body_without_end_is_left_early() -> None:
    endless = dripping(
        b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"800\r\n" + b"x" * 0x800 + b"\r\n",
    )
    assert await asked(endless) == b""


async def test_a_compressed_body_is_not_unpacked() -> None:
    packed = loading(b"\x1f\x8b\x08\x00", b"Content-Encoding: gzip")
    assert await asked(saying(packed)) == b"\x1f\x8b\x08\x00"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00" * 100,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 nonsense\r\n\r\n",
        LOADING % (1000, BODY),
        loading(BODY, b"X: " + b"x" * (1 << 20)),
        loading(BODY, b"\xff\xfe: \x00"),
        b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_an_answer_that_is_none_is_as_none(answer: bytes) -> None:
    assert await asked(saying(answer)) is None


async def test_one_that_refuses_is_no_error() -> None:
    async with saying(b"").running() as server:
        pass
    async with over_http() as ask:
        assert await ask(server.url) is None


@pytest.mark.parametrize(
    "server",
    [
        dripping(b"", b""),
        dripping(b"HTTP/1.1 503 No\r\n", b"X: y\r\n"),
        dripping(LOADING % (1000, b""), b" "),
    ],
    ids=["silent", "headers", "body"],
)
async def test_one_that_is_slow_is_left_in_time(server: Server) -> None:
    """Each piece comes before any limit of silence; all of it never does."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await asked(server, SOON) is None
    assert SOON * 0.9 <= loop.time() - began < 5
