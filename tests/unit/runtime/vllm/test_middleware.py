"""What clients and probes get before vLLM has a say, over HTTP."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import jsonschema_rs
import pytest
import uvicorn
from fastapi import FastAPI
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hack import paths
from pykaito.runtime.vllm import middleware
from pykaito.runtime.vllm.middleware import (
    ActiveHealth,
    Closed,
    Description,
    Failures,
    RateLimit,
    total,
)
from pykaito.runtime.vllm.rate_limit import PATHS, refusal

AT_ONCE = 2


class Engine:
    """What a pooling model's engine has of vLLM's EngineClient."""

    error: Exception | None = None
    checks = 0

    async def get_supported_tasks(self) -> tuple[str, ...]:
        return ("embed",)

    async def check_health(self) -> None:
        self.checks += 1
        if self.error:
            raise self.error


class Server:
    """An app as vLLM builds it, whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.engine = Engine()
        paths = ("/v1/completions", "/health", "/v1/models", "/scale_elastic_ep")
        app = Starlette(
            routes=[Route(path, self.answer, methods=["GET", "POST"]) for path in paths]
        )
        app.state.engine_client = self.engine
        app.state.vllm_config = SimpleNamespace(
            scheduler_config=SimpleNamespace(max_num_seqs=AT_ONCE),
            model_config=SimpleNamespace(served_model_name="tiny"),
        )
        app.add_middleware(RateLimit)
        app.add_middleware(ActiveHealth)
        app.add_middleware(Closed)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://server"
        )

    async def answer(self, request: Request) -> Response:
        if request.url.path == "/v1/completions":
            await self.go.wait()
        return JSONResponse({"path": request.url.path})

    def post(self) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self.http.post("/v1/completions", json={}))


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
def waiting() -> Iterator[Gauge]:
    """The metric of the requests that wait in its engines."""
    gauge = Gauge("vllm:num_requests_waiting", "", ["engine"])
    yield gauge
    REGISTRY.unregister(gauge)


def rejected() -> float:
    value = REGISTRY.get_sample_value(
        "kaito_ratelimit_rejected_total", {"model_name": "tiny"}
    )
    return value or 0.0


async def test_as_many_may_wait_as_are_served(server: Server) -> None:
    before = rejected()
    served = [server.post() for _ in range(2 * AT_ONCE)]
    await asyncio.sleep(0.05)
    refused = await server.post()
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert error["param"] is None
    assert rejected() == before + 1
    server.go.set()
    assert {(await one).status_code for one in served} == {200}
    assert (await server.post()).status_code == 200


async def test_requests_that_wait_in_the_engine_count(
    server: Server, waiting: Gauge
) -> None:
    server.go.set()
    waiting.labels("0").set(AT_ONCE - 1)
    assert (await server.post()).status_code == 200
    waiting.labels("1").set(1)
    assert (await server.post()).status_code == 429


async def test_what_takes_no_engine_is_never_refused(
    server: Server, waiting: Gauge
) -> None:
    waiting.labels("0").set(1000)
    for path in ("/health", "/v1/models"):
        assert (await server.http.get(path)).status_code == 200


def test_whatever_occupies_the_engine_is_limited() -> None:
    file = paths.ROOT / "docs" / "openapi" / "vllm.json"
    operations = json.loads(file.read_text())["paths"]
    posted = {path for path, methods in operations.items() if "post" in methods}
    assert posted - PATHS == {
        "/detokenize",
        "/ping",
        "/v1/messages/count_tokens",
        "/v1/responses/{response_id}/cancel",
    }


@pytest.mark.parametrize("path", ["/scale_elastic_ep", "/scale_elastic_ep/"])
async def test_clients_cannot_change_how_many_engines_there_are(
    server: Server, path: str
) -> None:
    body = {"new_data_parallel_size": 2}
    assert (await server.http.post(path, json=body)).status_code == 404


async def test_health_is_the_engines(server: Server) -> None:
    answer = await server.http.get("/health/active")
    assert (answer.status_code, answer.json()["status"]) == (200, "Healthy")
    assert server.engine.checks == 1


async def test_an_engine_that_is_dead_is_unhealthy(server: Server) -> None:
    server.engine.error = RuntimeError("EngineCore died")
    answer = await server.http.get("/health/active")
    assert answer.status_code == 503
    assert "EngineCore died" in answer.json()["reason"]


async def test_the_description_has_what_this_runtime_adds(monkeypatch: Any) -> None:
    monkeypatch.setattr(middleware, "vllm_version", lambda: "0.32.0")
    app = FastAPI()
    for path in ("/v1/completions", "/version", "/scale_elastic_ep"):
        app.add_api_route(path, lambda: None, methods=["POST"])
    app.add_middleware(Description)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
        for _ in range(2):
            found = (await http.get("/openapi.json")).json()
        assert (await http.post("/version")).status_code == 200
    assert found["info"]["version"] == "0.32.0"
    operations = found["paths"]
    limited = operations["/v1/completions"]["post"]["responses"]["429"]
    schema = limited["content"]["application/json"]["schema"]
    assert jsonschema_rs.is_valid(schema, refusal(AT_ONCE))
    assert "429" not in operations["/version"]["post"]["responses"]
    assert "/scale_elastic_ep" not in operations
    assert set(operations["/health/active"]["get"]["responses"]) == {"200", "503"}


def test_a_metric_is_summed_over_engines(monkeypatch: Any) -> None:
    registry = CollectorRegistry()
    monkeypatch.setattr(middleware, "REGISTRY", registry)
    assert total(middleware.TOKENS) == 0
    tokens = Counter("vllm:generation_tokens", "", ["engine"], registry=registry)
    tokens.labels("0").inc(3)
    tokens.labels("1").inc(4)
    assert total(middleware.TOKENS) == 7


async def failing(request: Request) -> Response:
    raise AttributeError(f"{request.url.path} is no path of mine")


async def failed(request: Request, error: Exception) -> Response:
    """Answer as vLLM does."""
    del request
    return JSONResponse({"error": {"message": str(error), "code": 500}}, 500)


async def test_an_error_within_vllm_does_not_end_the_clients_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Starlette(
        routes=[Route("/fails", failing), Route("/works", lambda _: Response("yes"))],
        exception_handlers={Exception: failed},
    )
    app.add_middleware(Failures)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        failure = await asked(reader, writer, "/fails")
        assert failure.startswith("HTTP/1.1 500")
        assert "/fails is no path of mine" in failure
        assert (await asked(reader, writer, "/works")).startswith("HTTP/1.1 200")
        writer.close()
    finally:
        server.should_exit = True
        await serving
    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert record.exc_info


async def asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
) -> str:
    """Return the reply to a request on a connection that is kept."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: server\r\n\r\n".encode())
    async with asyncio.timeout(30):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head)
        assert length
        return head + (await reader.readexactly(int(length[1]))).decode()
