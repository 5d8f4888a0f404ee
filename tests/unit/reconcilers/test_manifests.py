"""The objects that serve a model, held against a golden file."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pykaito.api.parse import parse
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.reconcilers.inference import manifests
from pykaito.runtime.presets.plan import plan
from tests.unit.reconcilers.workspaces import raw_workspace

GOLDEN = Path(__file__).parent / "golden"

PRIVATE = {
    "inference": {
        "preset": {
            "name": "phi-3.5-mini-instruct",
            "accessMode": "private",
            "presetOptions": {
                "image": "registry.example.com/phi-3.5:1",
                "imagePullSecrets": ["registry-login"],
            },
        }
    }
}


def rendered(**changes: Any) -> list[dict[str, Any]]:
    raw = raw_workspace(**changes)
    workspace = parse(Workspace, raw)
    return [
        manifests.service(workspace, raw),
        manifests.deployment(
            workspace,
            raw,
            plan(workspace),
            nodes=["gpu-1", "gpu-0"],
            runtime_image="registry.example.com/transformers:1",
        ),
    ]


@pytest.mark.parametrize(
    ("name", "changes"), [("hub", {}), ("private", PRIVATE)], ids=["hub", "private"]
)
def test_the_objects_are_as_in_the_golden_file(
    name: str, changes: dict[str, Any]
) -> None:
    golden = GOLDEN / f"{name}.yaml"
    assert rendered(**changes) == list(yaml.safe_load_all(golden.read_text())), (
        f"if the change is meant, write it: python {__file__}"
    )


def test_a_load_balancer_is_made_only_when_asked_for() -> None:
    annotated = {"annotations": {"kaito.sh/enablelb": "True"}}
    asked, unasked = rendered(metadata=annotated)[0], rendered()[0]
    assert asked["spec"]["type"] == "LoadBalancer"
    assert unasked["spec"]["type"] == "ClusterIP"


def test_the_nodes_that_pods_are_bound_to_can_be_read_back() -> None:
    assert manifests.bound_nodes(rendered()[1]) == ["gpu-0", "gpu-1"]


def test_the_order_of_the_nodes_makes_no_difference() -> None:
    assert manifests.affinity(["b", "a"]) == manifests.affinity(["a", "b"])


if __name__ == "__main__":
    for name, changes in (("hub", {}), ("private", PRIVATE)):
        # A round trip through JSON, so that no part is written as an alias.
        plain = json.loads(json.dumps(rendered(**changes)))
        text = yaml.safe_dump_all(plain, sort_keys=False)
        (GOLDEN / f"{name}.yaml").write_text(text)
