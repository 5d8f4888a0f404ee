"""Whether an adapter fits the model, by the headers of both."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.vllm.base_model import check_adapters, weight_shapes
from tests.unit.runtime.hf.lora import Pair, factors, write_adapter

QUERY = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's weights, in two files."""
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(
        {f"{QUERY}.weight": torch.zeros(24, 16), "model.norm.weight": torch.zeros(16)},
        folder / "model-00001-of-00002.safetensors",
    )
    packed = torch.zeros(192, 1, dtype=torch.uint8)
    save_file(
        {"model.layers.0.mlp.up_proj.weight": packed},
        folder / "model-00002-of-00002.safetensors",
    )
    return folder


def check(tmp_path: Path, model: Path, modules: dict[str, Pair], **config: Any) -> None:
    check_adapters([write_adapter(tmp_path / "law", modules, **config)], model)


def test_an_adapter_of_the_model_fits(tmp_path: Path, model: Path) -> None:
    check(tmp_path, model, {QUERY: factors(16, 24)})


def test_an_adapter_of_weights_that_lie_transposed_fits(
    tmp_path: Path, model: Path
) -> None:
    check(tmp_path, model, {QUERY: factors(24, 16)})


@pytest.mark.parametrize(("inputs", "outputs"), [(32, 24), (16, 32)])
def test_another_models_adapter_is_refused_with_both_shapes(
    tmp_path: Path, model: Path, inputs: int, outputs: int
) -> None:
    with pytest.raises(LoadError) as refused:
        check(
            tmp_path,
            model,
            {QUERY: factors(inputs, outputs)},
            base_model_name_or_path="their/model",
        )
    for part in (
        "adapter 'law'",
        QUERY,
        f"has the shape [{outputs}, {inputs}]",
        "have [24, 16]",
        "it was trained on 'their/model'",
    ):
        assert part in str(refused.value)


def test_a_rank_that_the_configuration_does_not_say_is_refused(
    tmp_path: Path, model: Path
) -> None:
    with pytest.raises(LoadError, match="inner dimension must be the rank 4"):
        check(tmp_path, model, {QUERY: factors(16, 24, rank=8)})


def test_modules_that_the_files_do_not_name_are_left_to_vllm(
    tmp_path: Path, model: Path
) -> None:
    check(tmp_path, model, {"model.layers.0.mlp.experts.gate": factors(5, 7)})


def test_quantised_weights_say_nothing_of_shapes(tmp_path: Path, model: Path) -> None:
    check(tmp_path, model, {"model.layers.0.mlp.up_proj": factors(16, 24)})


def test_a_file_that_is_broken_is_left_to_vllm(tmp_path: Path, model: Path) -> None:
    (model / "model-00001-of-00002.safetensors").write_bytes(b"no header")
    assert weight_shapes(model) == {}
    check(tmp_path, model, {QUERY: factors(5, 7)})


def test_without_a_folder_nothing_is_known(tmp_path: Path) -> None:
    check(tmp_path, tmp_path / "their-model", {QUERY: factors(5, 7)})
