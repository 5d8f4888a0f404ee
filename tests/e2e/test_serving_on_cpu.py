"""A node without GPUs serves a small model, with its user's settings."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.recording import Object, Recording
from tests.e2e.workspaces import (
    Applied,
    Kubectl,
    on_cpus,
    own_namespace,
    port_forward,
    settings,
)

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    with own_namespace(kubectl, "serving-on-cpu") as name:
        yield name


@pytest.fixture(scope="module")
def recording(kubeconfig: Path, operator: str, namespace: str) -> Iterator[Recording]:
    """All that the Workspace's status says."""
    assert operator
    with Recording(kubeconfig, namespace, ["workspaces"]) as seen:
        yield seen


@pytest.fixture(scope="module")
def serving(
    kubectl: Kubectl, cpu_node: str, namespace: str, recording: Recording
) -> Applied:
    """A Workspace whose model comes slowly from the hub, once it is served."""
    assert recording
    config = settings("vllm: {max-model-len: 512}")
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(config))
    obj = on_cpus(cpu_node, {"name": "phi-3-mini-4k-instruct"})
    applied = Applied(kubectl, namespace, obj)
    applied.wait_serving()
    return applied


def test_how_far_the_download_was_came_into_the_status_and_went(
    serving: Applied, recording: Recording
) -> None:
    (pod,) = serving.get("pods")
    served = "1 of 1 replicas serve"
    # kubectl's watch may be ahead of this one.
    recording.first("workspaces", lambda obj: served in told_of(obj), within=60)
    told = [text for obj in recording.versions("workspaces") for text in told_of(obj)]
    name = re.escape(pod["metadata"]["name"])
    progress = re.compile(rf"pod {name} is downloading the weights: \d+ %")
    assert any(map(progress.match, told)), list(dict.fromkeys(told))
    assert told[-1] == served


def told_of(obj: Object) -> list[str]:
    """Return what a version of the Workspace says of its server."""
    return [
        condition["message"]
        for condition in (obj.get("status") or {}).get("conditions", ())
        if condition["type"] == "InferenceReady"
    ]


def test_processors_and_memory_are_asked_for_and_no_gpu(
    serving: Applied, cpu_node: str
) -> None:
    (pod,) = serving.get("pods")
    assert pod["spec"]["nodeName"] == cpu_node
    requests: dict[str, Any] = pod["spec"]["containers"][0]["resources"]["requests"]
    assert requests.keys() == {"cpu", "memory"}


def test_the_model_answers_within_the_configured_length(
    kubeconfig: Path, serving: Applied
) -> None:
    target = f"service/{serving.name}"
    with port_forward(kubeconfig, serving.namespace, target, 80) as url:
        (card,) = httpx.get(f"{url}/v1/models", timeout=60).json()["data"]
        assert card["max_model_len"] == 512
        body = {"model": card["id"], "prompt": "What is kubernetes?", "max_tokens": 4}
        answer = httpx.post(f"{url}/v1/completions", json=body, timeout=60)
        assert answer.raise_for_status().json()["usage"]["completion_tokens"] <= 4
