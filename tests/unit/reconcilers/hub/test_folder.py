"""A model's config.json in a folder serves where there is no hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pykaito.api.parse import parse
from pykaito.api.v1beta1 import inference as api
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.clock import SystemClock
from pykaito.reconcilers.hub.folder import find_in_folder, find_offline
from pykaito.reconcilers.hub.hub import Hub, Sources
from pykaito.runtime.presets.plan import Known, PlanError, PlanReason, plan
from tests.unit.reconcilers.hub.stand_ins import LLAMA

NAME = "Someone/Tiny-Llama"


def put(root: Path, files: Mapping[str, Any], name: str = NAME) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    for file, content in files.items():
        is_bytes = isinstance(content, bytes)
        data = content if is_bytes else json.dumps(content).encode()
        (folder / file).write_bytes(data)


def refusal(root: Path | None, name: str = NAME) -> PlanError:
    with pytest.raises(PlanError) as caught:
        find_offline(api.Preset(name=name), root)
    return caught.value


def weights_of(root: Path) -> float:
    found = find_in_folder(root, NAME)
    assert found is not None
    return found.weights_gib


def test_a_model_is_found_whatever_the_case_of_its_name(tmp_path: Path) -> None:
    put(tmp_path, {"config.json": LLAMA})
    found = find_in_folder(tmp_path, NAME.lower())
    assert found is not None
    assert (found.name, found.hub, found.revision) == (NAME, NAME, "")


def test_the_weights_follow_from_a_dense_models_config(tmp_path: Path) -> None:
    put(tmp_path, {"config.json": LLAMA})
    assert weights_of(tmp_path) == 2.06


def test_the_index_of_the_weights_comes_before_arithmetic(tmp_path: Path) -> None:
    index = {"metadata": {"total_size": 7 * 2**30}}
    put(tmp_path, {"config.json": LLAMA, "model.safetensors.index.json": index})
    assert weights_of(tmp_path) == 7


def test_weights_in_the_folder_come_before_all(tmp_path: Path) -> None:
    index = {"metadata": {"total_size": 7 * 2**30}}
    put(tmp_path, {"config.json": LLAMA, "model.safetensors.index.json": index})
    with (tmp_path / NAME / "model.safetensors").open("wb") as file:
        file.truncate(2**30)
    assert weights_of(tmp_path) == 1


def test_a_model_with_experts_asks_for_its_index(tmp_path: Path) -> None:
    put(tmp_path, {"config.json": {**LLAMA, "num_experts": 8}})
    error = refusal(tmp_path)
    assert error.reason is PlanReason.MODEL_CONFIG_INVALID
    assert "model.safetensors.index.json" in str(error)


@pytest.mark.parametrize(
    "content", [b"<html>", [1], {}, b"{" * 9, b" " * (17 << 20)], ids=type
)
def test_a_file_that_is_no_config_is_named(tmp_path: Path, content: Any) -> None:
    put(tmp_path, {"config.json": content})
    error = refusal(tmp_path)
    assert error.reason is PlanReason.MODEL_CONFIG_INVALID
    assert f"the config.json of {NAME} in {tmp_path}" in str(error)


@pytest.mark.parametrize("name", ["someone/other", "other/tiny-llama"])
def test_a_model_that_the_folder_lacks_says_where_it_belongs(
    tmp_path: Path, name: str
) -> None:
    put(tmp_path, {"config.json": LLAMA})
    for root in (tmp_path, None):
        error = refusal(root, name)
        assert error.reason is PlanReason.MODEL_CONFIG_MISSING
        assert f"--model-configs DIR, as DIR/{name}/config.json" in str(error)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none")
    assert error.reason is PlanReason.MODEL_CONFIG_MISSING
    assert "No such file" in str(error)


def test_names_of_the_catalogue_and_of_nothing_are_left_to_it(tmp_path: Path) -> None:
    assert find_offline(api.Preset(name="phi-4"), tmp_path) is None
    assert find_offline(api.Preset(name="phi-99"), tmp_path) is None


def test_a_model_in_an_image_needs_its_config_too(tmp_path: Path) -> None:
    spec = api.Preset.model_validate(
        {"name": "mine", "accessMode": "private", "presetOptions": {"image": "r/m:1"}}
    )
    with pytest.raises(PlanError, match=r"DIR/mine/config\.json"):
        find_offline(spec, tmp_path)
    put(tmp_path, {"config.json": LLAMA}, "mine")
    found = find_offline(spec, tmp_path)
    assert found is not None
    assert found.private_only


async def test_the_operator_looks_into_the_folder_before_anything_else(
    tmp_path: Path,
) -> None:
    put(tmp_path, {"config.json": LLAMA})
    sources = Sources(endpoint="http://hub.invalid", model_configs=tmp_path)
    found = await Hub(sources, SystemClock()).find(api.Preset(name=NAME))
    assert found is not None
    assert found.hub == NAME


def test_a_model_from_outside_the_catalogue_is_planned_like_any_other(
    tmp_path: Path,
) -> None:
    put(tmp_path, {"config.json": LLAMA})
    workspace = parse(
        Workspace,
        {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {"name": "w", "namespace": "default"},
            "resource": {"labelSelector": {"matchLabels": {"a": "b"}}},
            "inference": {"preset": {"name": NAME}},
        },
    )
    known = Known(preset=find_in_folder(tmp_path, NAME))
    planned = plan(workspace, known=known)
    assert planned.server is not None
    assert planned.server.preset.hub == NAME
    assert planned.server.served_model_name == "tiny-llama"
    assert planned.gpus_per_node == 1
