"""ASGI middleware that a request for tokens passes first.

It refuses when the server takes no requests, counts what is in flight (the
drain waits for that), and refuses a body that is too large or too slow.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from pykaito.runtime.hf.disconnect import ClientGoneError
from pykaito.runtime.hf.errors import ApiError, BodyTimeoutError, BodyTooLargeError
from pykaito.runtime.hf.lifecycle import Lifecycle, Phase

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

#: Seconds a client has for sending a body.
BODY_TIMEOUT = 60.0


class Gate:
    """Lets a POST through to the application, or answers it at once."""

    def __init__(self, app: App, *, lifecycle: Lifecycle, max_bytes: int) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        self._lifecycle.enter()
        try:
            self._check_length(scope)
            # Also of a request that is refused: a connection that is closed with a
            # body unread is reset, and takes the answer with it.
            body = await self._read(receive)
            self._lifecycle.check()
        except ApiError as error:
            response = error_response(error)
            if self._lifecycle.phase is Phase.DRAINING:
                # The next try would come to this server again, over and over.
                response.headers["Connection"] = "close"
            await response(scope, receive, send)
        except ClientGoneError:
            pass
        else:
            await self._app(scope, _replay(body, receive), send)
        finally:
            self._lifecycle.leave()

    def _check_length(self, scope: Message) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_bytes:
            raise self._too_large(f"{int(length)} bytes")

    async def _read(self, receive: Receive) -> bytes:
        """Return the whole body; its length need not have been announced."""
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    body += message.get("body", b"")
                    if len(body) > self._max_bytes:
                        raise self._too_large(f"more than {self._max_bytes} bytes")
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise BodyTimeoutError(
                f"the request's body did not arrive within {BODY_TIMEOUT:g} seconds"
            ) from None

    def _too_large(self, found: str) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"the request's body: found {found}, must have {self._max_bytes} at most"
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body first, then what comes after it."""
    messages: list[Message] = [
        {"type": "http.request", "body": body, "more_body": False}
    ]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def error_response(error: ApiError) -> JSONResponse:
    """Return the reply that tells a client of an error."""
    return JSONResponse(error.body(), error.status, headers=error.headers())
