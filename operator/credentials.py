"""The bearer token of each request, read anew before the server refuses it.

A Pod's token lives an hour and the kubelet rewrites its file well before that; a
kubeconfig's exec plugin hands out a new one when asked. Neither needs a new
connection, so neither may close one: watches live on it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import final

import httpx
import structlog

READ_SECONDS = 20.0
"""Limit of one reading; an exec plugin may wait for a person that is not there."""

REREAD_SECONDS = 60.0
"""Age at which a token from a file is read again, as client-go does."""

_log = structlog.get_logger(__name__)


@final
class BearerToken(httpx.Auth):
    """Signs requests with a token; after a 401 reads it anew and tries once more.

    Args:
        token: the first token; empty when the client is known by its certificate.
        read: returns the current token; may be slow (an exec plugin) and may fail,
            then the old token stays.
        max_age: seconds after which `read` is asked even without a 401; None for
            a token that only changes when it is refused.
        monotonic: the clock that ages are measured on.
    """

    def __init__(
        self,
        token: str,
        read: Callable[[], Awaitable[str]],
        *,
        max_age: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token
        self._read = read
        self._max_age = max_age
        self._monotonic = monotonic
        self._read_at = monotonic()
        self._reading = asyncio.Lock()

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the token; send a second time only if a 401 led to another token."""
        if self._max_age is not None and self._age() >= self._max_age:
            await self._renew(self._token)
        sent = self._sign(request)
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            await self._renew(sent)
            if self._token != sent:
                self._sign(request)
                yield request

    def _age(self) -> float:
        return self._monotonic() - self._read_at

    def _sign(self, request: httpx.Request) -> str:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return self._token

    async def _renew(self, seen: str) -> None:
        """Read the token, unless another request did since `seen` was current."""
        async with self._reading:
            if self._token != seen:
                return
            try:
                async with asyncio.timeout(READ_SECONDS):
                    self._token = await self._read()
            except Exception as error:  # noqa: BLE001 - an exec plugin fails in any way; the server's 401 is then the answer
                _log.warning(
                    "cannot read the API token again",
                    error=str(error) or type(error).__name__,
                )
            self._read_at = self._monotonic()
