"""A start of vLLM is seen from its first moment to its last, in a pod.

The model comes from the cluster's stand-in for the hub, slowly, before vLLM is started.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from hack.images.catalogue import VLLM
from hack.images.delivery import deliver
from tests.e2e.workspaces import (
    Applied,
    Kubectl,
    on_cpus,
    own_namespace,
    port_forward,
    settings,
)

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(1500)]

#: Of 2 GB, which a node may have to pull first.
PULLING_SECONDS = 600
STARTING_SECONDS = 600
PORT = 5000
#: What takes long enough to be seen by who asks each half second.
LONG_STAGES = {"downloading the weights", "importing vLLM", "starting the engine"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a pod said of its start."""

    statuses: frozenset[int]
    stages: frozenset[str]
    #: The last answer during the download.
    download: Mapping[str, Any]
    metrics: frozenset[str]
    #: The answer to a request for tokens that came too early.
    early: httpx.Response


@pytest.fixture(scope="module")
def starting(kubectl: Kubectl, gpu_node: str) -> Iterator[Applied]:
    """A Workspace whose model is downloaded, once its server runs."""
    deliver(VLLM)
    config = settings("vllm: {dtype: float32, max-model-len: 256}\n")
    obj = on_cpus(gpu_node, {"name": "phi-3-mini-4k-instruct"}, runtime="vllm")
    with own_namespace(kubectl, "vllm-start") as namespace:
        kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(config))
        applied = Applied(kubectl, namespace, obj)
        assert runs(applied)
        yield applied


@retry(
    stop=stop_after_delay(PULLING_SECONDS),
    wait=wait_fixed(0.5),
    retry=retry_if_result(lambda found: not found),
)
def runs(applied: Applied) -> bool:
    pods = applied.get("pods")
    statuses = [s for pod in pods for s in pod["status"].get("containerStatuses", ())]
    return any("running" in status["state"] for status in statuses)


@pytest.fixture(scope="module")
def seen(kubeconfig: Path, starting: Applied) -> Seen:
    """What the pod said until it served."""
    (pod,) = starting.get("pods")
    target = f"pod/{pod['metadata']['name']}"
    assert listens(kubeconfig, starting.namespace, target)
    found: list[httpx.Response] = []
    with (
        port_forward(kubeconfig, starting.namespace, target, PORT) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):

        @retry(
            stop=stop_after_delay(STARTING_SECONDS),
            wait=wait_fixed(0.5),
            retry=retry_if_result(lambda status: status != 200),
        )
        def served() -> int:
            # An error is one: the port is never closed again.
            found.append(http.get("/health"))
            return found[-1].status_code

        early = http.post("/v1/completions", json={"prompt": "x"})
        metrics = metric_names(http.get("/metrics").text)
        served()
    bodies: list[Any] = [one.json() for one in found if one.status_code == 503]
    downloads = [body for body in bodies if "downloaded_bytes" in body]
    return Seen(
        frozenset(one.status_code for one in found),
        frozenset(body["stage"] for body in bodies),
        downloads[-1] if downloads else {},
        metrics,
        early,
    )


@retry(
    stop=stop_after_delay(60),
    wait=wait_fixed(0.2),
    retry=retry_if_result(lambda found: not found),
)
def listens(kubeconfig: Path, namespace: str, target: str) -> bool:
    """Whether the process has opened its port, which it does in its first second."""
    # One for each try: kubectl gives up where nobody listens.
    with port_forward(kubeconfig, namespace, target, PORT) as url:
        try:
            return httpx.get(f"{url}/health", timeout=10).is_error
        except httpx.TransportError:
            return False


def metric_names(text: str) -> frozenset[str]:
    return frozenset(family.name for family in text_string_to_metric_families(text))


def test_a_start_tells_its_stages_until_it_serves(seen: Seen) -> None:
    assert seen.statuses == {503, 200}
    assert seen.stages >= LONG_STAGES
    assert seen.metrics >= {
        "kaito_model_load_ratio",
        "kaito_model_download_speed_bytes_per_second",
        "kaito_model_download_remaining_seconds",
    }


def test_a_download_is_told_in_bytes(seen: Seen) -> None:
    download = seen.download
    assert 0 < download["downloaded_bytes"] <= download["total_bytes"]
    assert download["progress"] > 0
    assert download["bytes_per_second"] > 0
    assert download["seconds_left"] >= 0


def test_who_comes_too_early_is_told_to_come_back(seen: Seen) -> None:
    assert seen.early.status_code == 503
    assert int(seen.early.headers["Retry-After"]) >= 1
    assert "the model is loading" in seen.early.json()["error"]["message"]


@pytest.mark.usefixtures("seen")
def test_the_model_was_fetched_before_vllm_started(
    kubeconfig: Path, starting: Applied
) -> None:
    starting.wait("condition=Ready=True", STARTING_SECONDS)
    events = [
        json.loads(line)["event"]
        for line in starting.kubectl(
            "logs", f"deployment/{starting.name}", "-c", starting.name
        ).splitlines()
        if line.startswith('{"timestamp"')
    ]
    assert events.index("downloading the weights") < events.index("importing vLLM")
    target = f"service/{starting.name}"
    with port_forward(kubeconfig, starting.namespace, target, 80) as url:
        (card,) = httpx.get(f"{url}/v1/models", timeout=60).json()["data"]
        assert card["id"] == "phi-3-mini-4k-instruct"
        assert "/models--microsoft--Phi-3-mini-4k-instruct/snapshots/" in card["root"]
        body = {"model": card["id"], "prompt": "What is Kubernetes?", "max_tokens": 4}
        answer = httpx.post(f"{url}/v1/completions", json=body, timeout=60)
        assert answer.raise_for_status().json()["usage"]["completion_tokens"] <= 4
        text = httpx.get(f"{url}/metrics", timeout=60).text
    stages = {
        sample.labels["stage"]
        for family in text_string_to_metric_families(text)
        if family.name == "kaito_startup_seconds"
        for sample in family.samples
        if sample.labels["model_name"] == card["id"]
    }
    assert stages == {"import", "download", "load", "compile", "first_token"}
