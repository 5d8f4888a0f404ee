"""Adapters as vLLM loads them."""

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from pykaito.runtime.hf.lora_files import CONFIG, WEIGHTS
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.vllm.adapters import Lora, prepare
from tests.unit.runtime.hf.lora import factors, write_adapter

MODULES = {
    "model.layers.0.q_proj": factors(16, 16),
    "model.layers.1.q_proj": factors(16, 16, seed=1),
}
#: Of a delta, against W0 + strength · alpha / r · BA.
ERROR = 1e-5


def config_of(lora: Lora) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lora.folder / CONFIG).read_text())
    return found


def test_an_adapters_own_files_stay_as_they_are(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "law", MODULES, strength=0.5)
    before = {file: file.read_bytes() for file in adapter.folder.iterdir()}
    (lora,) = prepare([adapter], tmp_path / "scratch")
    assert {file: file.read_bytes() for file in adapter.folder.iterdir()} == before
    assert config_of(lora)["target_modules"] == ["q_proj"]
    assert (lora.folder / WEIGHTS).samefile(adapter.folder / WEIGHTS)


def test_each_strength_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """By the folder vLLM finds again what it has computed."""
    adapter = write_adapter(tmp_path / "law", MODULES)
    folders = [
        prepare([replace(adapter, strength=strength)], tmp_path / "scratch")[0].folder
        for strength in (0, 0.25, 0.5, 1, 0.5, 0)
    ]
    assert len(set(folders)) == 4
    assert folders[:2] == [folders[5], folders[1]]
    assert folders[2] == folders[4]


def test_other_weights_have_a_folder_of_their_own(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "law", MODULES)
    (before,) = prepare([adapter], tmp_path / "scratch")
    os.utime(adapter.folder / WEIGHTS, ns=(1, 1))
    (after,) = prepare([adapter], tmp_path / "scratch")
    assert before.folder != after.folder


STRENGTHS = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
ALPHAS = st.one_of(st.integers(1, 64), st.floats(0.01, 64))


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """An adapter's configuration as peft could have written it."""
    found: dict[str, Any] = {"r": draw(st.sampled_from([1, 2, 4, 8, 16]))}
    found["lora_alpha"] = draw(ALPHAS)
    found["use_rslora"] = draw(st.booleans())
    keys = st.sampled_from(["q_proj", "layers.1.q_proj", r"layers\.[01]\.q_proj"])
    found["alpha_pattern"] = draw(st.dictionaries(keys, ALPHAS, max_size=2))
    ranks = st.sampled_from([1, 3, 8])
    found["rank_pattern"] = draw(st.dictionaries(keys, ranks, max_size=1))
    return found


def own(pattern: dict[str, Any], module: str, usual: Any) -> Any:
    """Return a module's own value: of the first name that is a suffix of it."""
    for key, value in pattern.items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return usual


def delta(lora: Path, module: str) -> torch.Tensor:
    """Return what an adapter adds, as peft and vLLM compute it."""
    config, tensors = json.loads((lora / CONFIG).read_text()), load_file(lora / WEIGHTS)
    alpha = own(config["alpha_pattern"], module, config["lora_alpha"])
    rank = own(config["rank_pattern"], module, config["r"])
    b, a = (tensors[f"base_model.model.{module}.lora_{x}.weight"] for x in "BA")
    assert a.shape[0] == rank
    scaling = alpha / (math.sqrt(rank) if config["use_rslora"] else rank)
    return scaling * (b.double() @ a.double())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(configurations(), STRENGTHS), min_size=1, max_size=10))
def test_strength_scales_exactly_what_each_adapter_adds(
    wanted: list[tuple[dict[str, Any], float]],
) -> None:
    with TemporaryDirectory() as root:
        adapters = []
        for number, (config, strength) in enumerate(wanted):
            modules = {
                name: factors(
                    16,
                    16,
                    rank=own(config["rank_pattern"], name, config["r"]),
                    seed=number,
                )
                for name in MODULES
            }
            folder = Path(root, f"adapter-{number}")
            adapters.append(write_adapter(folder, modules, strength=strength, **config))
        loras = prepare(adapters, Path(root, "scratch"))
        for adapter, lora in zip(adapters, loras, strict=True):
            for module in MODULES:
                right = adapter.strength * delta(adapter.folder, module)
                found = delta(lora.folder, module)
                assert (found - right).abs().max() < ERROR


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
