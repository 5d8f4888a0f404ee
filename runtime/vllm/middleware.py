"""What vLLM's server does besides its own, by ``--middleware``.

vLLM makes them with the app that they stand before; the engine is in the state of
the outermost app, once a request comes.
"""

import logging
import uuid
from collections.abc import Iterable
from typing import Any

from prometheus_client import REGISTRY, Counter
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pykaito.runtime.hf.errors import NotReadyError
from pykaito.runtime.vllm.openapi import ACTIVE_HEALTH, CLOSED, described
from pykaito.runtime.vllm.probe import ActivityProbe
from pykaito.runtime.vllm.rate_limit import PATHS, RETRY_AFTER, Admission, refusal
from pykaito.runtime.vllm.starting import current

#: Where such errors are told of without this runtime.
log = logging.getLogger("uvicorn.error")

#: vLLM's own metrics, by the names that they are registered under.
TOKENS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
WAITING = ("vllm:num_requests_waiting",)
#: Changes with each step of a prompt's reading, of which no token comes until its end.
CACHE = ("vllm:kv_cache_usage_perc",)

#: Seconds until another server is found, on another connection.
LEAVING_RETRY = 1

REJECTED = Counter(
    "kaito_ratelimit_rejected_total",
    "Requests that were answered 429.",
    ["model_name"],
)


class HandOver:
    """Ends the start, at the last moment before vLLM opens its port.

    And sends new requests elsewhere once the server is told to end: they come on
    connections that clients keep, and vLLM would fail them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for the app's own start, and let everything else pass."""
        if scope["type"] != "lifespan":
            start = current()
            leaving = start is not None and start.ending.told
            app = _elsewhere() if leaving and scope.get("path") in PATHS else self._app
            await app(scope, receive, send)
            return

        async def pass_on(message: Message) -> None:
            start = current()
            if message["type"] == "lifespan.startup.complete" and start is not None:
                engine = scope["app"].state.engine_client
                await start.finish(lambda: one_token(engine))
            await send(message)

        await self._app(scope, receive, pass_on)


def _elsewhere() -> ASGIApp:
    error = NotReadyError("the server is ending; ask again", retry_after=LEAVING_RETRY)
    headers = {**error.headers(), "Connection": "close"}
    return JSONResponse(error.body(), error.status, headers)


class ActiveHealth:
    """Answers whether the engine generates: 200, else 503."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._probe: ActivityProbe | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a probe, and let everything else pass."""
        if scope["type"] != "http" or scope["path"] != ACTIVE_HEALTH:
            await self._app(scope, receive, send)
            return
        if self._probe is None:
            engine = scope["app"].state.engine_client
            self._probe = ActivityProbe(
                lambda: one_token(engine), lambda: (total(TOKENS), total(CACHE))
            )
        reason = await self._probe.look()
        body = {"status": "Unhealthy" if reason else "Healthy", "reason": reason}
        answer = JSONResponse(body, 503 if reason else 200)
        await answer(scope, receive, send)


class RateLimit:
    """Answers 429 where too many requests wait."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._admission: Admission | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or let it pass."""
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        state = scope["app"].state
        at_once = state.vllm_config.scheduler_config.max_num_seqs
        rejected = REJECTED.labels(state.vllm_config.model_config.served_model_name)
        if self._admission is None:
            self._admission = Admission(at_once, lambda: total(WAITING))
        if self._admission.is_full():
            rejected.inc()
            headers = {"Retry-After": str(RETRY_AFTER)}
            answer = JSONResponse(refusal(at_once), 429, headers)
            await answer(scope, receive, send)
            return
        with self._admission.enter():
            await self._app(scope, receive, send)


class Closed:
    """Keeps from clients what is for who operates the server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as where there is nothing, and let everything else pass."""
        if scope["type"] == "http" and scope["path"].rstrip("/") in CLOSED:
            answer = JSONResponse({"detail": "Not Found"}, 404)
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


class Failures:
    """Answers what fails within vLLM as vLLM does, without an end of the connection.

    Starlette has the same answer sent and the error raised again, whereupon uvicorn
    closes a connection that the answer promised to keep: a client's next request on
    it is lost.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let everything pass, and answer where nothing has been and will be."""
        begun = False

        async def pass_on(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, pass_on)
        except Exception as error:
            handler = scope["app"].exception_handlers.get(Exception)
            if scope["type"] != "http" or begun or handler is None:
                raise
            log.exception("Exception in ASGI application")
            answer = await handler(Request(scope, receive), error)
            await answer(scope, receive, send)


class Description:
    """Has /openapi.json describe what this runtime adds to vLLM."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let everything pass; vLLM serves the description that its app holds."""
        if scope["type"] == "http" and scope["path"] == scope["app"].openapi_url:
            app = scope["app"]
            if app.openapi_schema is None:
                app.openapi_schema = described(app.openapi(), vllm_version())
        await self._app(scope, receive, send)


def vllm_version() -> str:
    """Return the version of the vLLM that serves."""
    from vllm import __version__  # noqa: PLC0415 - a test has no vLLM

    return str(__version__)


async def one_token(engine: Any) -> None:
    """Have the engine generate a token; one that does not generate tells its health."""
    if "generate" not in await engine.get_supported_tasks():
        await engine.check_health()
        return
    from vllm import SamplingParams  # noqa: PLC0415 - a test has no vLLM

    outputs = engine.generate(
        # Every vocabulary has a first token.
        {"prompt_token_ids": [0]},
        SamplingParams(max_tokens=1, temperature=0),
        request_id=f"probe-{uuid.uuid4().hex}",
    )
    async for _ in outputs:
        pass


def total(names: Iterable[str]) -> float:
    """Return the sum of metrics over all engines of the process; 0 without any."""
    families = REGISTRY.restricted_registry(list(names)).collect()
    return sum(s.value for f in families for s in f.samples if s.name in names)
