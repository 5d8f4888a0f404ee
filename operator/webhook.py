"""The webhook server: the API server asks it over HTTPS before it stores objects.

It must never stand in the way. A handler that breaks or takes too long admits the
object with a warning: whatever a handler checks, a reconciler checks again, while
an object that cannot be written because of a bug here could not be mended, nor
deleted. Only what a handler says itself is refused.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from functools import partial
from typing import final

import structlog
from aiohttp import web
from structlog.contextvars import bound_contextvars

from pykaito.operator import metrics
from pykaito.operator.admission import (
    AdmissionRequest,
    AdmissionResponse,
    Handler,
    MalformedReviewError,
    allow,
    parse_review,
    render_review,
)
from pykaito.operator.certificates import KeyPair
from pykaito.operator.clock import Clock
from pykaito.operator.listener import HttpListener

_log = structlog.stdlib.get_logger(__name__)

MAX_BODY = 7 * 1024 * 1024
"""Bytes of a review. An object has at most 3 MiB, the limit of a request to the API
server; an update's review holds the old one as well."""

# What the API server waits when a webhook's configuration does not say.
_DEFAULT_TIMEOUT = 10.0
# The share of it that a handler gets: an answer that comes late is none.
_SHARE = 0.8
# What is under way when the port closes gets this long, in seconds.
_CLOSE_TIMEOUT = 4.0
_GO_SECONDS = re.compile(r"([0-9]{1,3})s")

NOT_CHECKED = (
    "this object was not checked, because {why}; what is wrong with it, if anything, "
    "its status will say"
)


@final
class WebhookServer:
    """Answers AdmissionReviews over TLS 1.2 or newer.

    Args:
        port: the port to bind on all interfaces; 0 for a free one.
        handlers: who decides, by the path of the URL.
        clock: time.
        linger: how long it goes on answering when told to stop, in seconds:
            requests arrive until every node knows that this endpoint goes.

    Until it is given a certificate to `use`, every handshake fails.
    """

    def __init__(
        self,
        port: int,
        handlers: Mapping[str, Handler],
        clock: Clock,
        *,
        linger: float = 3.0,
    ) -> None:
        self._clock = clock
        self._linger = linger
        self._certified = False
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.set_alpn_protocols(["http/1.1"])
        self._listener = HttpListener(
            port,
            {
                path: partial(self._answer, path, handler)
                for path, handler in handlers.items()
            },
            method="POST",
            max_body=MAX_BODY,
            close_timeout=_CLOSE_TIMEOUT,
            tls=self._tls,
        )
        for path in handlers:
            metrics.WEBHOOK_PANICS.labels(path)

    @property
    def port(self) -> int:
        """The bound port; 0 until started."""
        return self._listener.port

    def ready(self) -> str | None:
        """Return what keeps it from answering, None when nothing does."""
        if not self._certified:
            return "no certificate was loaded yet"
        return None if self.port else "the port is not bound yet"

    def use(self, pair: KeyPair) -> None:
        """Serve with another certificate from the next handshake on.

        Connections that are open stay open.

        Raises:
            ssl.SSLError: the pair is not usable; the old one stays.
        """
        # A context that failed half-way would have a certificate without its key.
        pair.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        pair.load_into(self._tls)
        self._certified = True

    async def start(self) -> None:
        """Bind the port.

        Raises:
            OSError: the port cannot be bound; the message names it.
        """
        await self._listener.start()

    async def stop(self) -> None:
        """Answer for a little while yet, then finish what is under way and close."""
        if self.port:
            await self._clock.sleep(self._linger)
        await self._listener.stop()

    async def _answer(
        self, path: str, handler: Handler, http: web.Request
    ) -> web.Response:
        began = self._clock.monotonic()
        deadline = began + allowed_seconds(http.query)
        with metrics.WEBHOOK_IN_FLIGHT.labels(path).track_inprogress():
            answer = await self._review(path, handler, http, deadline)
        metrics.WEBHOOK_LATENCY.labels(path).observe(self._clock.monotonic() - began)
        metrics.WEBHOOK_REQUESTS.labels(path, str(answer.status)).inc()
        return answer

    async def _review(
        self, path: str, handler: Handler, http: web.Request, deadline: float
    ) -> web.Response:
        if http.content_type != "application/json":
            return _refused(
                400,
                f"Content-Type: found {http.content_type}, expected application/json",
            )
        try:
            async with asyncio.timeout_at(deadline):
                body = await http.read()
            request = parse_review(body)
        except web.HTTPRequestEntityTooLarge:
            return _refused(413, f"a review has at most {MAX_BODY} bytes")
        except TimeoutError:
            return _refused(408, "the review did not arrive in time")
        except MalformedReviewError as error:
            return _refused(400, str(error))
        with bound_contextvars(
            webhook=path, namespace=request.namespace, name=request.name
        ):
            response = await self._decide(path, handler, request, deadline)
        return web.Response(
            body=render_review(request, response), content_type="application/json"
        )

    async def _decide(
        self, path: str, handler: Handler, request: AdmissionRequest, deadline: float
    ) -> AdmissionResponse:
        try:
            async with asyncio.timeout_at(deadline) as limit:
                response = await handler(
                    request, seconds=deadline - self._clock.monotonic()
                )
        except Exception as error:  # noqa: BLE001 - no bug here may keep an object from being stored
            if isinstance(error, TimeoutError) and limit.expired():
                _log.warning("not decided in time, the object is let through")
                return allow([NOT_CHECKED.format(why="that took too long")])
            metrics.WEBHOOK_PANICS.labels(path).inc()
            _log.exception("admission broke, the object is let through")
            return allow([NOT_CHECKED.format(why="the operator's webhook failed")])
        if not response.allowed:
            _log.info("refused", user=request.username, why=response.message)
        return response


def allowed_seconds(query: Mapping[str, str]) -> float:
    """Return how long an answer may take, from the URL that the API server calls.

    It says so in Go's notation of a duration, of which whole seconds are used.
    """
    said = _GO_SECONDS.fullmatch(query.get("timeout", ""))
    return (float(said[1]) if said else _DEFAULT_TIMEOUT) * _SHARE


def _refused(status: int, why: str) -> web.Response:
    _log.warning("a request that is no review", status=status, why=why)
    return web.Response(status=status, text=f"{why}\n")
