"""A scripted HTTP server on loopback that speaks the Kubernetes API's protocol.

It is a stand-in for faults that a real API server will not produce on demand: a
connection that falls silent, an expired version in mid-stream, a refused token. It
stores nothing and validates nothing; what an API server does with objects is
tested against a real one, in tests/e2e.
"""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """A complete answer; `body` is sent as JSON unless it is bytes."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    only_for: str = ""
    """Value of the Authorization header that gets it; all others get a 401."""


@dataclass(frozen=True)
class Watch:
    """A streamed answer: pieces of bytes, or events sent as one line each."""

    pieces: tuple[Any, ...] = ()
    then: Literal["end", "hang", "cut"] = "end"
    """End cleanly, stay open in silence, or break the connection off."""


@dataclass(frozen=True)
class Silence:
    """Accepts the request and never answers."""


Reply = Answer | Watch | Silence


def failure(
    code: int,
    reason: str,
    message: str = "",
    *,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return a refusal as the API server words it."""
    return Answer(status(code, reason, message, details), code, headers or {})


def status(
    code: int, reason: str, message: str = "", details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message or reason,
        "details": dict(details or {}),
    }


class ApiServer:
    """Answers by script; the last answer of a path is given again and again."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.url = ""
        self._replies: dict[tuple[str, str], list[Reply]] = {}
        self._closing = asyncio.Event()

    def on(self, method: str, path: str, *replies: Reply) -> None:
        """Set the answers to come for a path."""
        self._replies[method, path] = list(replies)

    def requests(self, method: str, path: str) -> list[Received]:
        """Return what came in for a path."""
        return [r for r in self.received if (r.method, r.path) == (method, path)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            request.method,
            request.path,
            dict(request.query),
            dict(request.headers),
            await request.read(),
        )
        self.received.append(received)
        replies = self._replies.get((received.method, received.path), [])
        reply = replies.pop(0) if len(replies) > 1 else (replies or [None])[0]
        match reply:
            case Answer(only_for=wanted) if wanted and wanted != request.headers.get(
                "Authorization"
            ):
                return _respond(failure(401, "Unauthorized"))
            case Answer():
                return _respond(reply)
            case Watch():
                return await self._stream(request, reply)
            case Silence():
                await self._closing.wait()
        return _respond(failure(404, "NotFound", f"{received.path} not scripted"))

    async def _stream(self, request: web.Request, watch: Watch) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for piece in watch.pieces:
            data = piece if isinstance(piece, bytes) else _line(piece)
            await response.write(data)
        if watch.then == "hang":
            await self._closing.wait()
        if watch.then == "cut" and request.transport is not None:
            request.transport.abort()
        return response

    def close(self) -> None:
        """Let silent answers go, so that the server can stop."""
        self._closing.set()


def _line(event: Any) -> bytes:
    # Not escaped to ASCII: the API server sends UTF-8 as it is.
    return json.dumps(event, ensure_ascii=False).encode() + b"\n"


def _respond(answer: Answer) -> web.Response:
    body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body)
    return web.Response(body=body, status=answer.status, headers=answer.headers)


@contextlib.asynccontextmanager
async def serve(tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiServer]:
    """Run a server on a free port of loopback."""
    server = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"{'https' if tls else 'http'}://{host}:{port}"
    try:
        yield server
    finally:
        server.close()
        await runner.cleanup()


def kubeconfig(
    folder: Path,
    url: str,
    *,
    user: Mapping[str, Any] | None = None,
    cluster: Mapping[str, Any] | None = None,
) -> Path:
    """Write a kubeconfig for a server and return its path."""
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {"name": "test", "cluster": {"server": url, **(cluster or {})}},
        ],
        "users": [{"name": "test", "user": dict(user or {"token": "t0k3n"})}],
        "contexts": [
            {
                "name": "test",
                "context": {"cluster": "test", "user": "test", "namespace": "home"},
            }
        ],
    }
    path.write_text(json.dumps(config))
    return path


def certificate() -> tuple[bytes, bytes]:
    """Return a self-signed certificate for 127.0.0.1 and its key, as PEM."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    key = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.public_bytes(serialization.Encoding.PEM), key
