from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pykaito.runtime.hf.engine import Generation, GenerationRequest
from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.progress import Download
from pykaito.runtime.hf.start_engine import StartedEngine

from .conftest import RunningServer

BODY = {"prompt": "a", "max_tokens": 3, "temperature": 0}


class BrokenEngine:
    """An engine whose accelerator has failed for good."""

    running = 0
    waiting = 0
    places = 1
    batching = False
    cache_usage = 0.0
    failure = "the accelerator failed: device-side assert"

    def check_room(self, requests: int) -> None:
        raise AssertionError(requests)

    def submit(self, request: GenerationRequest) -> Generation:
        raise AssertionError(request)

    def close(self) -> None:
        """Nothing is left to close."""


@pytest.fixture
def loading() -> Iterator[RunningServer]:
    server = RunningServer(parse_flags([]), started=None)
    yield server
    server.stop()


def samples(server: Any) -> dict[tuple[str, str], float]:
    """Read /metrics as Prometheus does: by name and finished_reason."""
    text = server.http.get("/metrics").text
    return {
        (sample.name, sample.labels.get("finished_reason", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def test_a_server_that_loads_says_what_it_is_doing(loading: RunningServer) -> None:
    progress = loading.lifecycle.progress
    progress.begin("loading the tokenizer")
    reply = loading.http.get("/health")
    assert reply.status_code == 503
    assert reply.json() == {
        "status": "Loading",
        "stage": "loading the tokenizer",
        "progress": None,
    }
    progress.load(0.25)
    assert loading.http.get("/health").json() == {
        "status": "Loading",
        "stage": "loading the weights",
        "progress": 0.25,
    }
    assert loading.http.get("/").json() == {"message": "Server is running"}
    assert samples(loading)["kaito_model_load_ratio", ""] == 0.25


def test_a_download_is_seen_growing(loading: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").write_bytes(b"\1" * 4096)
    download = Download.begin(tmp_path, total=40960)
    loading.lifecycle.progress.begin_download(download)
    (tmp_path / "weights.incomplete").write_bytes(b"\1" * 16384)
    health = loading.http.get("/health").json()
    assert (health["stage"], health["progress"]) == ("downloading the weights", 0.5)
    assert (health["downloaded_bytes"], health["total_bytes"]) == (20480, 40960)
    assert health["bytes_per_second"] > 0
    assert health["seconds_left"] >= 0
    found = samples(loading)
    assert found["kaito_model_download_speed_bytes_per_second", ""] > 0
    assert found["kaito_model_download_remaining_seconds", ""] > 0
    loading.lifecycle.progress.load(0)
    assert samples(loading)["kaito_model_download_remaining_seconds", ""] == 0


def test_a_download_of_unknown_size_says_so(tmp_path: Path) -> None:
    download = Download.begin(tmp_path, total=None)
    assert (download.share(), download.remaining()) == (None, -1)
    report = download.report()
    assert (report["total_bytes"], report["seconds_left"]) == (None, None)


@pytest.mark.parametrize("path", ["/chat", "/v1/completions", "/v1/chat/completions"])
def test_a_request_before_the_model_is_loaded_is_told_to_come_back(
    loading: RunningServer, path: str
) -> None:
    reply = loading.http.post(path, json=BODY)
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) >= 1
    assert "the model is loading" in reply.json()["error"]["message"]
    assert loading.http.get("/v1/models").status_code == 503


def test_a_server_that_is_ready_is_healthy(server: RunningServer) -> None:
    reply = server.http.get("/health")
    assert reply.status_code == 200
    assert reply.json() == {"status": "Healthy"}


def test_a_server_that_drains_takes_no_more_requests(start_server: Any) -> None:
    server = start_server()
    server.lifecycle.drain()
    assert server.http.get("/health").status_code == 503
    assert server.http.get("/health").json() == {"status": "Draining"}
    refused = server.http.post("/v1/completions", json=BODY)
    assert refused.status_code == 503
    # So that the next try finds another server behind the Service.
    assert refused.headers["Connection"] == "close"


def test_a_server_whose_accelerator_failed_asks_for_a_restart(
    loading: RunningServer, server: RunningServer
) -> None:
    reader = server.lifecycle.reader
    loading.become_ready(StartedEngine(BrokenEngine(), reader, {}))
    reply = loading.http.get("/health")
    assert reply.status_code == 500
    assert "device-side assert" in reply.json()["reason"]
    assert loading.http.post("/v1/completions", json=BODY).status_code == 503


def test_metrics_count_requests_and_tokens_as_vllm_does(start_server: Any) -> None:
    server = start_server()
    prompt_tokens = 0
    for _ in range(2):
        usage = server.http.post("/v1/completions", json=BODY).json()["usage"]
        prompt_tokens += usage["prompt_tokens"]
    found = samples(server)
    assert found["vllm:prompt_tokens_total", ""] == prompt_tokens
    assert found["vllm:generation_tokens_total", ""] == 6
    assert found["vllm:request_success_total", "length"] == 2
    assert found["vllm:num_requests_running", ""] == 0
    assert found["vllm:num_requests_waiting", ""] == 0
    for histogram, count in [
        ("time_to_first_token_seconds", 2),
        ("e2e_request_latency_seconds", 2),
        ("inter_token_latency_seconds", 4),
        ("request_queue_time_seconds", 2),
        ("request_prompt_tokens", 2),
        ("request_generation_tokens", 2),
    ]:
        assert found[f"vllm:{histogram}_count", ""] == count


def test_metrics_carry_the_served_models_name(start_server: Any) -> None:
    server = start_server("--served_model_name=phi-3-mini")
    text = server.http.get("/metrics").text
    assert 'vllm:num_requests_running{model_name="phi-3-mini"} 0.0' in text
    assert server.openai.models.list().data[0].id == "phi-3-mini"
