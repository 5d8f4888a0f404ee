"""The HTTP session to the API server: pooled, bounded in time, counted.

httpx is the interface that kr8s speaks; aiohttp moves the bytes, which is several
times faster at the concurrency of an operator.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from prometheus_client import Counter

from pykaito.operator.credentials import BearerToken
from pykaito.operator.errors import TransportError

POOL_SIZE = 128
"""Connections at most: a watch holds one for good, each worker one at a time."""

CONNECT_SECONDS = 10.0

KEEP_ALIVE_SECONDS = 15.0
"""Idle connections are dropped early, before a middlebox forgets them silently."""

READ_BUFFER_BYTES = 1 << 18

_BROKEN = (httpx.HTTPError, aiohttp.ClientError, OSError)
"""What a connection raises when no usable answer came; timeouts are OSErrors."""

REQUESTS = Counter(
    "rest_client_requests_total",
    "Number of HTTP requests, partitioned by status code, method, and host.",
    ("code", "method", "host"),
)


@final
class Session:
    """Sends requests to one API server.

    It lives as long as the operator: nothing but `close` ends its connections,
    because watches run on them.

    Args:
        server: base URL of the API server.
        tls: holds the server's CA and the client's certificate.
        request_seconds: limit of one request and its whole answer.
        silence_seconds: longest silence between two pieces of a streamed answer.
            It is what finds out that the other side is gone without a word.
    """

    def __init__(
        self,
        server: str,
        *,
        tls: ssl.SSLContext,
        auth: BearerToken,
        user_agent: str,
        proxy: str | None,
        request_seconds: float,
        silence_seconds: float,
    ) -> None:
        self._auth = auth
        self._request_seconds = request_seconds
        self._silence_seconds = silence_seconds
        self.http = httpx.AsyncClient(
            base_url=server,
            headers={
                "User-Agent": user_agent,
                "Accept": "application/json",
                # Compression costs both sides more than a cluster's network saves.
                "Accept-Encoding": "identity",
            },
            transport=AiohttpTransport(
                verify=tls,
                proxy=httpx.Proxy(proxy) if proxy else None,
                client=lambda: _pool(tls),
            ),
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close all connections; requests and watches under way fail."""
        await self.http.aclose()

    async def send(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        """Send and return the answer, whatever its status; closing it is up to you.

        Unless it streams, the answer is read in full.

        Raises:
            TransportError: no answer came in time.
        """
        silence = self._silence_seconds if stream else self._request_seconds
        request.extensions["timeout"] = httpx.Timeout(
            silence, connect=CONNECT_SECONDS
        ).as_dict()
        code = "<error>"
        try:
            with typed_errors(request):
                async with asyncio.timeout(None if stream else self._request_seconds):
                    response = await self.http.send(
                        request, stream=stream, auth=self._auth
                    )
            code = str(response.status_code)
        finally:
            host = request.url.netloc.decode()
            REQUESTS.labels(code=code, method=request.method, host=host).inc()
        return response


def _pool(tls: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=POOL_SIZE, ssl=tls, keepalive_timeout=KEEP_ALIVE_SECONDS
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=READ_BUFFER_BYTES,
    )


@contextlib.contextmanager
def typed_errors(request: httpx.Request) -> Iterator[None]:
    """Turn whatever a broken connection raises into a TransportError."""
    try:
        yield
    except _BROKEN as error:
        raise TransportError(
            f"no answer from {request.method} {request.url}:"
            f" {type(error).__name__} {error}".rstrip()
        ) from error
