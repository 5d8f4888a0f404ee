"""GET with bounds: on bytes, redirects and what a redirect may lead to.

Neither credentials nor cookies are sent, and what comes back is believed in nothing
but its size: these servers are named by users, or stand in for one that was.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

import pykaito

MAX_REDIRECTS = 3
#: Seconds that a server may be silent.
SILENCE = 3.0

_LAST_PORT = 65535

_HEADERS = {
    "User-Agent": f"pykaito/{pykaito.__version__}",
    # A compressed answer can be larger than its bounds by a thousand times.
    "Accept-Encoding": "identity",
}


class WebError(Exception):
    """No usable answer came; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it is what was asked for."""
        return self.status == httpx.codes.OK


def new_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Return a client for one lookup; it honours HTTPS_PROXY and SSL_CERT_FILE."""
    return httpx.AsyncClient(
        headers=_HEADERS, timeout=SILENCE, transport=transport, follow_redirects=False
    )


async def get(
    client: httpx.AsyncClient,
    url: str,
    *,
    limit: int,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return the answer to a GET.

    Raises:
        WebError: there is none, or it has more than ``limit`` bytes.
    """
    async with opened(client, url, headers=headers) as response:
        body = bytearray()
        async for chunk in chunks(response):
            body += chunk
            if len(body) > limit:
                raise WebError(f"the answer has more than {limit >> 10} KiB")
        return Answer(response.status_code, response.headers, bytes(body))


@asynccontextmanager
async def opened(
    client: httpx.AsyncClient, url: str, *, headers: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.Response]:
    """Hold the response to a GET whose body is not read yet.

    Raises:
        WebError: there is none.
    """
    try:
        request = client.build_request("GET", url, headers=headers)
        for _ in range(MAX_REDIRECTS + 1):
            if (request.url.port or 0) > _LAST_PORT:
                raise WebError(f"{request.url.port} is no port")
            response = await client.send(request, stream=True)
            try:
                if response.next_request is None:
                    yield response
                    return
                request = _redirected(request, response.next_request)
            finally:
                await response.aclose()
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        # UnicodeError: a host that no domain name can be.
        raise WebError(_cause(error)) from None
    raise WebError(f"more than {MAX_REDIRECTS} redirects")


async def chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield a body as it comes.

    Raises:
        WebError: it breaks off.
    """
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx.HTTPError as error:
        raise WebError(_cause(error)) from None


def parameters(challenge: str) -> dict[str, str]:
    """Return the parameters of a WWW-Authenticate: Bearer header, empty if none."""
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() != "bearer":
        return {}
    # Only from the start of a word: else long ones take the square of their length.
    return dict(re.findall(r'(?<!\w)(\w+)="([^"]*)"', rest))


def quoted(value: Any) -> str:
    """Return a part of an answer for a message: short, on one line, and printable."""
    printable = "".join(c if c.isprintable() else " " for c in str(value)[:2000])
    text = " ".join(printable.split())
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line


def _redirected(old: httpx.Request, new: httpx.Request) -> httpx.Request:
    """Check where a redirect leads.

    Raises:
        WebError: from TLS to plain text.
    """
    if old.url.scheme == "https" and new.url.scheme != "https":
        raise WebError(f"a redirect from https to {new.url.scheme}")
    return new


def _cause(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"silence for {SILENCE:g} s"
    return quoted(error) or type(error).__name__
