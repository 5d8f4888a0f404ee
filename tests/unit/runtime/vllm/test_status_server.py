"""What the port answers while the model loads, and how it passes to vLLM."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.progress import LOADED, Download
from pykaito.runtime.vllm import status_server
from pykaito.runtime.vllm.middleware import HandOver
from pykaito.runtime.vllm.starting import ServerStart
from pykaito.runtime.vllm.status_server import listen


@pytest.fixture
def start() -> Iterator[ServerStart]:
    start = ServerStart(listen("127.0.0.1", 0), "tiny")
    with start.told():
        yield start


def url(start: ServerStart) -> str:
    return f"http://127.0.0.1:{start.listener.getsockname()[1]}"


def connected(start: ServerStart) -> socket.socket:
    return socket.create_connection(start.listener.getsockname(), timeout=10)


def is_dropped(client: socket.socket) -> bool:
    """Whether a connection ends without an answer."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("path", ["/health", "/health/active"])
def test_probes_are_told_what_is_done(start: ServerStart, path: str) -> None:
    start.progress.begin("importing vLLM")
    answer = httpx.get(url(start) + path)
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "Loading",
        "stage": "importing vLLM",
        "progress": None,
    }
    start.progress.load(0.25)
    assert httpx.get(url(start) + path).json()["progress"] == 0.25


def test_a_download_is_told_in_bytes(start: ServerStart, tmp_path: Path) -> None:
    (tmp_path / "of another version").write_bytes(b"\1" * 8192)
    start.progress.begin_download(Download.begin(tmp_path, 40960, present=4096))
    (tmp_path / "weights.incomplete").write_bytes(b"\1" * 16384)
    health = httpx.get(f"{url(start)}/health").json()
    assert (health["stage"], health["progress"]) == ("downloading the weights", 0.5)
    assert (health["downloaded_bytes"], health["total_bytes"]) == (20480, 40960)
    assert health["bytes_per_second"] > 0
    assert health["seconds_left"] >= 0
    text = httpx.get(f"{url(start)}/metrics").text
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels == {"model_name": "tiny"}
    }
    assert found["kaito_model_download_speed_bytes_per_second"] > 0
    assert found["kaito_model_load_ratio"] == 0


def test_other_requests_are_told_to_come_back(start: ServerStart) -> None:
    body = {"prompt": "x" * 3_000_000}
    answer = httpx.post(f"{url(start)}/v1/completions", json=body)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "the model is loading (starting)" in answer.json()["error"]["message"]
    assert httpx.head(f"{url(start)}/").status_code == 503


def test_clients_that_never_finish_keep_nobody_out(
    start: ServerStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_server, "PATIENCE", 0.2)
    monkeypatch.setattr(status_server, "MOST", 4)
    slow = [connected(start) for _ in range(4)]
    for one in slow:
        one.sendall(b"GET /health HTT")
    for one in slow:
        assert one.recv(1) == b""
    monkeypatch.undo()
    assert httpx.get(f"{url(start)}/health").status_code == 503
    with connected(start) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\n" + b"a" * status_server.LARGEST_HEAD * 2)
        assert is_dropped(endless)
    with connected(start) as nonsense:
        nonsense.sendall(b"\xff\xfe\r\n\r\n")
        assert nonsense.recv(12) == b"HTTP/1.1 503"


def test_a_port_that_is_taken_is_named(start: ServerStart) -> None:
    port = start.listener.getsockname()[1]
    with pytest.raises(FlagError, match=f"--host, --port: cannot .* port {port}"):
        listen("127.0.0.1", port)


def test_a_port_that_there_is_not_is_named() -> None:
    with pytest.raises(FlagError, match=r"port 70000: .* must be 0-65535"):
        listen("", 70000)


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_without_a_host_it_answers_on_both_families(address: str) -> None:
    start = ServerStart(listen("", 0), "tiny")
    with start.told():
        port = start.listener.getsockname()[1]
        assert httpx.get(f"http://{address}:{port}/health").status_code == 503


def test_without_ipv6_it_answers_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen("", 0) as listener:
        assert listener.family == socket.AF_INET


class Engine:
    """What is asked for a first token; it comes when a test lets it."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = threading.Event()
        self.error: Exception | None = None

    async def get_supported_tasks(self) -> tuple[str, ...]:
        return ("embed",)

    async def check_health(self) -> None:
        self.asked.set()
        await asyncio.to_thread(self.go.wait, 30)
        if self.error:
            raise self.error


class Serving:
    """An app on a start's socket, served as vLLM serves its own, on a thread."""

    def __init__(self, start: ServerStart) -> None:
        self.engine = Engine()
        routes = [Route("/health", self.answer), Route("/v1/completions", self.answer)]
        app = Starlette(routes=routes)
        app.state.engine_client = self.engine
        app.add_middleware(HandOver)
        self.server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        self.listener = start.listener
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.listener]))

    async def answer(self, request: Request) -> Response:
        return JSONResponse({"served": request.url.path})

    def stop(self) -> None:
        self.engine.go.set()
        self.server.should_exit = True
        self.thread.join(timeout=10)


@pytest.fixture
def serving(start: ServerStart) -> Iterator[Serving]:
    serving = Serving(start)
    yield serving
    serving.stop()


def test_the_port_passes_to_vllm_and_refuses_nobody(
    start: ServerStart, serving: Serving
) -> None:
    assert serving.engine.asked.wait(10)
    idle = connected(start)
    # It is accepted by then: connections are in the order that they come in.
    assert httpx.get(f"{url(start)}/health").status_code == 503
    statuses: list[int] = []
    ready = threading.Event()

    def ask() -> None:
        while not ready.is_set() or len(statuses) < 20:
            answer = httpx.get(f"{url(start)}/health", timeout=10)
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                ready.set()

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for one in asking:
        one.start()
    serving.engine.go.set()
    assert ready.wait(20)
    # Who connected before and asks only now is dropped, not answered by the first.
    idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert is_dropped(idle)
    for one in asking:
        one.join(timeout=20)
    # Each thread saw 503 and then 200, and nothing else: a refusal would have raised.
    assert set(statuses) <= {200, 503}
    assert httpx.get(f"{url(start)}/health").json() == {"served": "/health"}
    assert start.progress.startup["first_token"] >= 0
    assert exported("first_token") == start.progress.startup["first_token"]


def test_who_is_asking_when_the_port_passes_is_answered(
    start: ServerStart, serving: Serving
) -> None:
    assert serving.engine.asked.wait(10)
    with connected(start) as asking:
        asking.sendall(b"GET /health HTT")
        assert httpx.get(f"{url(start)}/health").status_code == 503
        serving.engine.go.set()
        passed = retry(
            retry=retry_if_result(lambda stage: stage != LOADED),
            stop=stop_after_delay(10),
            wait=wait_fixed(0.01),
        )
        passed(lambda: start.progress.stage)()
        asking.sendall(b"P/1.1\r\n\r\n")
        assert asking.recv(12) == b"HTTP/1.1 503"


def test_a_server_that_is_told_to_end_sends_new_requests_elsewhere(
    start: ServerStart, serving: Serving
) -> None:
    serving.engine.go.set()
    with httpx.Client(base_url=url(start)) as client:
        served = retry(
            retry=retry_if_result(lambda status: status != 200),
            stop=stop_after_delay(20),
            wait=wait_fixed(0.05),
        )
        served(lambda: client.get("/v1/completions").status_code)()
        start.ending.told = True
        answer = client.get("/v1/completions")
        assert answer.status_code == 503
        assert answer.headers["Connection"] == "close"
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["error"]["code"] == "not_ready"
        assert client.get("/health").status_code == 200


def exported(stage: str) -> float:
    """Return what Prometheus is told of a stage; others' metrics are not asked."""
    families = REGISTRY.restricted_registry(["kaito_startup_seconds"]).collect()
    labels = {"model_name": "tiny", "stage": stage}
    (found,) = (s for f in families for s in f.samples if s.labels == labels)
    return found.value


def test_until_the_first_token_the_start_is_told_of(
    start: ServerStart, serving: Serving
) -> None:
    assert serving.engine.asked.wait(10)
    health: dict[str, Any] = json.loads(httpx.get(f"{url(start)}/health").text)
    assert health["stage"] == "generating a first token"


def test_an_engine_that_generates_nothing_is_left_to_the_probes(
    start: ServerStart, serving: Serving
) -> None:
    serving.engine.error = RuntimeError("the engine is dead")
    serving.engine.go.set()
    served = retry(
        retry=retry_if_result(lambda status: status != 200),
        stop=stop_after_delay(20),
        wait=wait_fixed(0.05),
    )
    served(lambda: httpx.get(f"{url(start)}/health").status_code)()
    assert start.progress.startup == {}
