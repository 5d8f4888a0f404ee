"""Adapters as vLLM loads them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pykaito.runtime.hf.lora_files import CONFIG, WEIGHTS
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.vllm.adapters import Lora, prepare
from tests.unit.runtime.hf.lora import factors, write_adapter

MODULES = {
    "model.layers.0.q_proj": factors(16, 16),
    "model.layers.1.q_proj": factors(16, 16, seed=1),
}


def config_of(lora: Lora) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lora.folder / CONFIG).read_text())
    return found


def delta(lora: Lora, module: str) -> torch.Tensor:
    """Return what an adapter adds, as vLLM computes it: alpha / r · BA."""
    config, tensors = config_of(lora), load_file(lora.folder / WEIGHTS)
    alpha = config["lora_alpha"]
    for name, own in config.get("alpha_pattern", {}).items():
        alpha = own if module.endswith(name) else alpha
    pair = [tensors[f"base_model.model.{module}.lora_{x}.weight"] for x in "BA"]
    return alpha / config["r"] * (pair[0].double() @ pair[1].double())


def test_an_adapter_in_full_is_loaded_from_where_it_is(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "law", MODULES)
    assert prepare([adapter], tmp_path / "scratch") == (Lora("law", adapter.folder, 4),)
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5])
def test_strength_scales_exactly_what_an_adapter_adds(
    tmp_path: Path, strength: float
) -> None:
    own = {"alpha_pattern": {"layers.1.q_proj": 3}}
    (full,) = prepare([write_adapter(tmp_path / "full", MODULES, **own)], tmp_path)
    adapter = write_adapter(tmp_path / "part", MODULES, strength=strength, **own)
    (part,) = prepare([adapter], tmp_path / "scratch")
    for module in MODULES:
        wanted = strength * delta(full, module)
        assert (delta(part, module) - wanted).abs().max() < 1e-12
    assert config_of(part)["target_modules"] == ["q_proj"]
    assert not (adapter.folder / "changed").exists()
    assert json.loads((adapter.folder / CONFIG).read_text())["lora_alpha"] == 8


def test_a_restart_in_the_same_pod_prepares_the_same(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "part", MODULES, strength=0.5)
    first = prepare([adapter], tmp_path / "scratch")
    assert prepare([adapter], tmp_path / "scratch") == first
    assert config_of(first[0])["lora_alpha"] == 4


def test_the_largest_rank_of_any_module_counts(tmp_path: Path) -> None:
    modules = {"a.q_proj": factors(16, 16), "b.q_proj": factors(16, 16, rank=8)}
    pattern = {"rank_pattern": {"b.q_proj": 8}}
    (lora,) = prepare([write_adapter(tmp_path / "x", modules, **pattern)], tmp_path)
    assert lora.rank == 8


@pytest.mark.parametrize(
    "config", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}]
)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_what_is_more_than_lora_is_refused(
    tmp_path: Path, config: dict[str, Any], strength: float
) -> None:
    adapter = write_adapter(tmp_path / "x", MODULES, strength=strength, **config)
    with pytest.raises(LoadError, match=next(iter(config))):
        prepare([adapter], tmp_path / "scratch")
