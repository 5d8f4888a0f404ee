from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pykaito.api.parse import InvalidObjectError, parse
from pykaito.api.v1alpha1.machine import Machine
from pykaito.api.v1beta1.workspace import Workspace

PUBLISHED = Path(__file__).parents[2] / "e2e" / "crds" / "published_workspaces.yaml"


def workspace(**fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "falcon", "namespace": "models"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "falcon"}}},
        "inference": {"preset": {"name": "falcon-7b"}},
        **fields,
    }


def refusal(obj: dict[str, Any]) -> str:
    with pytest.raises(InvalidObjectError) as caught:
        parse(Workspace, obj)
    return str(caught.value)


@pytest.mark.parametrize(
    "document",
    list(yaml.safe_load_all(PUBLISHED.read_text())),
    ids=lambda document: document["metadata"]["name"],
)
def test_a_published_workspace_parses(document: dict[str, Any]) -> None:
    assert parse(Workspace, document).resource.label_selector.as_labels()


def test_what_is_left_out_has_the_defaults_of_the_crd() -> None:
    parsed = parse(Workspace, workspace())
    assert parsed.resource.count == 1
    assert parsed.inference is not None
    assert parsed.inference.preset is not None
    assert parsed.inference.preset.access_mode == "public"
    assert parsed.status.observed_generation == -1


def test_the_message_names_the_object_the_field_and_what_was_found() -> None:
    resource = {"count": 0, "labelSelector": {}}
    assert refusal(workspace(resource=resource)) == (
        "Workspace models/falcon: resource.count: Input should be greater than or "
        "equal to 1, found 0"
    )


def test_the_message_writes_an_item_of_a_list_as_the_api_server_does() -> None:
    resource = {"preferredNodes": ["gpu-1", "GPU_2"], "labelSelector": {}}
    message = refusal(workspace(resource=resource))
    assert "resource.preferredNodes[1]: must be lower-case letters" in message
    assert message.endswith("found 'GPU_2'")


def test_the_message_tells_every_fault() -> None:
    message = refusal(workspace(inference=None, tuning={"method": "lora"}))
    for field in ("tuning.preset", "tuning.input", "tuning.output"):
        assert f"{field}: Field required" in message


def test_the_message_cuts_a_long_value() -> None:
    message = refusal(workspace(inference=["x" * 1000]))
    assert "…" in message
    assert len(message) < 300


def test_an_object_that_is_hardly_one_is_refused_all_the_same() -> None:
    assert refusal({"metadata": "falcon"}).startswith("Workspace: metadata: ")


def test_another_api_version_is_refused() -> None:
    message = refusal(workspace(apiVersion="kaito.sh/v2"))
    assert "found 'kaito.sh/v2'" in message


def test_fields_of_a_newer_crd_are_ignored() -> None:
    inference = {"preset": {"name": "falcon-7b", "flavour": "sweet"}}
    parsed = parse(Workspace, workspace(inference=inference))
    assert parsed == parse(Workspace, workspace())


def test_a_model_cannot_be_changed() -> None:
    parsed = parse(Workspace, workspace())
    with pytest.raises(ValidationError, match="frozen"):
        parsed.resource.count = 2  # type: ignore[misc] # what is tested


def test_a_model_writes_the_names_of_the_wire() -> None:
    machine = Machine.model_validate(
        {
            "metadata": {"name": "falcon-0"},
            "spec": {"provisioner": "preferred_nodes", "nodeName": "gpu-1"},
            "status": {"providerID": "azure:///vm-1"},
        }
    )
    written = machine.model_dump(by_alias=True, exclude_defaults=True)
    assert written["spec"]["nodeName"] == "gpu-1"
    assert written["status"] == {"providerID": "azure:///vm-1"}


@pytest.mark.parametrize(
    ("quantity", "read"), [(1, "1"), ("1", "1"), ("512Mi", "512Mi")]
)
def test_a_quantity_is_text_however_it_was_written(quantity: Any, read: str) -> None:
    spec = {"provisioner": "karpenter", "resources": {"nvidia.com/gpu": quantity}}
    machine = parse(Machine, {"metadata": {"name": "falcon-0"}, "spec": spec})
    assert machine.spec.resources == {"nvidia.com/gpu": read}
