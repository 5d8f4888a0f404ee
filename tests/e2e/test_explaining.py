"""What is wrong is told in a condition and an Event, and mended without a restart."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.workspaces import Applied, Kubectl

pytestmark = pytest.mark.usefixtures("operator")


def workspace(preset: str = "falcon-7b", **changes: Any) -> dict[str, Any]:
    resource: dict[str, Any] = {"labelSelector": {"matchLabels": {"apps": "explained"}}}
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "explained", **changes.pop("metadata", {})},
        "resource": resource | changes.pop("resource", {}),
        "inference": {"preset": {"name": preset}},
        **changes,
    }


@pytest.fixture
def label(kubectl: Kubectl, gpu_node: str) -> Iterator[str]:
    """A node label of this test's own, which the GPU node does not carry yet."""
    key = f"pykaito.test/{uuid.uuid4().hex[:8]}"
    yield key
    kubectl("label", "node", gpu_node, f"{key}-")


def test_an_unknown_preset_is_refused_with_the_nearest_name(
    kubectl: Kubectl, namespace: str
) -> None:
    spec = json.dumps(workspace("falcon-7"))
    done = kubectl("apply", "-n", namespace, "-f", "-", stdin=spec, check=False)
    assert done.returncode == 1
    assert "falcon-7b" in done.stderr
    assert "/docs/troubleshooting/PresetNotFound.md" in done.stderr


def test_what_this_release_cannot_serve_stalls_and_makes_nothing(
    kubectl: Kubectl, namespace: str
) -> None:
    annotations = {"kaito.sh/runtime": "transformers"}
    spec = workspace("gemma-4-12b-it", metadata={"annotations": annotations})
    applied = Applied(kubectl, namespace, spec)
    message = applied.wait_reason("Ready", "RuntimeNotSupported")
    assert "kaito.sh/runtime" in message
    applied.wait("condition=Stalled=True")
    applied.wait_event("RuntimeNotSupported")
    assert applied.get("machines") == []
    assert applied.get("deployments") == []


def test_a_workspace_without_a_matching_node_says_what_would_match(
    kubectl: Kubectl, namespace: str
) -> None:
    applied = Applied(kubectl, namespace, workspace())
    message = applied.wait_reason("ResourceReady", "NoMatchingNode")
    assert "apps=explained" in message
    assert applied.get("deployments") == []


def test_a_preferred_node_that_does_not_exist_is_named(
    kubectl: Kubectl, namespace: str
) -> None:
    spec = workspace(resource={"preferredNodes": ["no-such-node"]})
    applied = Applied(kubectl, namespace, spec)
    message = applied.wait_reason("ResourceReady", "NodeNotFound")
    assert "'no-such-node'" in message
    applied.wait_event("NodeNotFound")


def test_a_node_without_gpus_is_told_to_lack_them(
    kubectl: Kubectl, namespace: str, cpu_node: str
) -> None:
    spec = workspace(
        resource={"preferredNodes": [cpu_node], "labelSelector": {"matchLabels": {}}}
    )
    applied = Applied(kubectl, namespace, spec)
    message = applied.wait_reason("ResourceReady", "ResourceMissing")
    assert f"node '{cpu_node}' has 0 nvidia.com/gpu" in message


def test_a_missing_label_is_told_and_the_command_it_names_mends_it(
    kubectl: Kubectl, namespace: str, gpu_node: str, label: str
) -> None:
    spec = workspace(
        resource={
            "preferredNodes": [gpu_node],
            "labelSelector": {"matchLabels": {label: "yes"}},
        }
    )
    applied = Applied(kubectl, namespace, spec)
    message = applied.wait_reason("ResourceReady", "LabelMismatch")
    command = message.partition("run: kubectl ")[2].split()
    kubectl(*command[:4])
    applied.wait("condition=ResourceReady=True")


def test_an_image_that_cannot_be_pulled_is_named(
    kubectl: Kubectl, namespace: str, gpu_node: str
) -> None:
    spec = workspace(
        resource={
            "preferredNodes": [gpu_node],
            "labelSelector": {"matchLabels": {}},
        },
        inference={
            "preset": {
                "name": "falcon-7b",
                "accessMode": "private",
                "presetOptions": {"image": "registry.invalid/falcon:1"},
            }
        },
    )
    applied = Applied(kubectl, namespace, spec)
    message = applied.wait_reason("InferenceReady", "ImagePullError", 120)
    assert "registry.invalid/falcon:1" in message
    applied.wait_event("ImagePullError")


def test_tuning_is_answered_and_costs_nothing(kubectl: Kubectl, namespace: str) -> None:
    tuning = {
        "preset": {"name": "phi-3-mini-128k-instruct"},
        "method": "qlora",
        "input": {"urls": ["https://example.com/data.parquet"]},
        "output": {"image": "r.example.com/out:1", "imagePushSecret": "push"},
    }
    spec = workspace(tuning=tuning)
    del spec["inference"]
    applied = Applied(kubectl, namespace, spec)
    applied.wait_reason("Ready", "TuningNotSupported")
    assert applied.get("machines") == []
