"""The inference document, in its oldest form, which knows one runtime."""

from typing import Any

import pytest

from tests.e2e.seeds.reader import Prepare, Readers

pytestmark = [
    pytest.mark.usefixtures("operator"),
    pytest.mark.serial,
    pytest.mark.timeout(600),
]


def test_a_workspace_serves_on_two_v100s_and_an_adapters_placeholder_is_explained(
    reader_of: Readers, prepare: Prepare
) -> None:
    prepare("Standard_NC12s_v3", apps="falcon-7b")
    reader = reader_of("inference_text")
    reader.types("kubectl apply -f examples/inference/falcon-7b.yaml")
    workspace = reader.workspace("workspace-falcon-7b")
    workspace.wait_serving()
    (pod,) = workspace.get("pods")
    assert initial_containers(pod) == []
    reader.types("kubectl apply -f examples/inference/falcon-7b-adapter.yaml")
    message = workspace.wait_reason("InferenceReady", "ImagePullError", 120)
    assert "<YOUR_IMAGE>" in message
    initial = [c for p in workspace.get("pods") for c in initial_containers(p)]
    assert "<YOUR_IMAGE>" in [container["image"] for container in initial]


def initial_containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pod["spec"].get("initContainers", [])
    return found
