"""Asking a pod how far it is: a GET with bounds on all that may come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
import structlog

import pykaito
from pykaito.reconcilers.inference.loading.watch import Ask

#: Seconds that an answer may take in all, however it comes.
PATIENCE = 2.0
#: Bytes of a body; what a server says takes a few hundred.
MOST_BYTES = 4096

_HEADERS = {
    "User-Agent": f"pykaito/{pykaito.__version__}",
    # A compressed answer can be larger than its bounds by a thousand times.
    "Accept-Encoding": "identity",
    # A pod is asked rarely, and may be gone by then.
    "Connection": "close",
}

_log = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def over_http(patience: float = PATIENCE) -> AsyncIterator[Ask]:
    """Yield what asks a server for its health.

    It follows no redirect, keeps no cookie, and takes no proxy from the environment:
    pods are asked directly or not at all.

    Args:
        patience: seconds that an answer may take in all.
    """
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(
        headers=_HEADERS,
        cookies=no_cookies,
        timeout=patience,
        follow_redirects=False,
        trust_env=False,
    ) as client:

        async def ask(url: str) -> bytes | None:
            try:
                async with asyncio.timeout(patience):
                    return await _body(client, url)
            except (httpx.HTTPError, TimeoutError) as error:
                # Nothing is wrong: it is not up yet, or pods cannot be reached from
                # here, as from outside the cluster.
                _log.debug("a pod does not answer", url=url, error=repr(error))
                return None

        yield ask


async def _body(client: httpx.AsyncClient, url: str) -> bytes:
    """Return what a server says that is loading, nothing if it does not say so."""
    async with client.stream("GET", url) as response:
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return b""
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MOST_BYTES:
                return b""
        return bytes(body)
