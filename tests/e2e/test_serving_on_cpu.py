"""A node without GPUs serves a small model, with its user's settings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.workspaces import Applied, Kubectl, port_forward

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def serving(kubectl: Kubectl, cpu_node: str) -> Iterator[Applied]:
    namespace = "serving-on-cpu"
    kubectl("create", "namespace", namespace)
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"inference_config.yaml": "vllm: {max-model-len: 512}"},
    }
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(settings))
    obj = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": "small",
            "annotations": {"kaito.sh/accelerator": "cpu"},
        },
        "resource": {
            "labelSelector": {"matchLabels": {}},
            "preferredNodes": [cpu_node],
        },
        "inference": {
            "preset": {"name": "phi-3-mini-4k-instruct"},
            "config": "settings",
        },
    }
    applied = Applied(kubectl, namespace, obj)
    try:
        applied.wait_serving()
        yield applied
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


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
