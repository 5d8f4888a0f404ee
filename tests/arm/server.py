"""The emulator on a socket: TLS on loopback, or a Unix socket for virtual time."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.arm.emulator import CutError, Emulator, Request
from tests.unit.operator.api_server import certificate


@dataclass(frozen=True)
class Endpoint:
    """Where the emulator is.

    Attributes:
        url: base URL of Resource Manager, and of Microsoft Entra ID.
        ca_file: what its certificate is verified by.
        metadata_url: base URL of the metadata service, which is plain HTTP.
    """

    url: str
    ca_file: str
    metadata_url: str


@contextlib.asynccontextmanager
async def serve(emulator: Emulator, folder: Path) -> AsyncIterator[Endpoint]:
    """Serve on free ports of loopback, with a certificate made for it."""
    certificate_pem, key_pem = certificate()
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(certificate_pem)
    pair = folder / "pair.pem"
    pair.write_bytes(certificate_pem + key_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair)
    async with _running(emulator) as runner:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        (_, port), (_, plain) = (address[:2] for address in runner.addresses)
        url = f"https://127.0.0.1:{port}"
        yield Endpoint(url, str(ca_file), f"http://127.0.0.1:{plain}")


@contextlib.asynccontextmanager
async def serve_unix(
    emulator: Emulator, folder: Path
) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve on a Unix socket and yield a session that reaches it by any URL.

    What is written to a Unix socket can be read at once, so an event loop on
    virtual time does not jump over it, as it would over TCP. There is no TLS on
    it, though the URLs say https.
    """
    path = str(folder / "arm.sock")
    async with _running(emulator) as runner:
        await web.UnixSite(runner, path).start()
        session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        async with session:
            yield session


@contextlib.asynccontextmanager
async def _running(emulator: Emulator) -> AsyncIterator[web.AppRunner]:
    crashes: list[Exception] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        received = Request(
            request.method, request.path, request.query, request.headers, body
        )
        try:
            answer = await emulator.handle(received)
        except CutError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        except Exception as error:  # shown to the test, below
            crashes.append(error)
            raise
        return web.Response(
            status=answer.status,
            body=answer.content() or None,
            content_type="application/json",
            headers=answer.headers,
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        yield runner
    finally:
        await emulator.close()
        await runner.cleanup()
    if crashes:
        raise crashes[0]
