import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from pykaito.runtime.hf.adapters import Adapter, parse_adapters
from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.lora_config import (
    BEYOND,
    SUMMED,
    TOLD,
    LoraConfigError,
    parse_lora_config,
)
from pykaito.runtime.hf.lora_files import CONFIG, PREFIX, WEIGHTS, read_adapter
from pykaito.runtime.hf.model_source import LoadError

from .lora import PLAIN, factors, write_adapter

FOLDER = Path("/mnt/adapter")
PAIR = {"layers.0.q_proj": factors(8, 8)}


def test_adapters_are_asked_for_in_the_workspaces_order() -> None:
    text = '[{"name": "b", "strength": "0.25"}, {"name": "a.b-c", "strength": 1}]'
    assert parse_adapters(text, FOLDER) == (
        Adapter("b", 0.25, FOLDER / "b"),
        Adapter("a.b-c", 1.0, FOLDER / "a.b-c"),
    )


def test_an_adapter_without_a_strength_has_its_full_one() -> None:
    (adapter,) = parse_adapters('[{"name": "a"}]', FOLDER)
    assert adapter.strength == 1.0


@pytest.mark.parametrize("text", [None, "", " ", "[]"])
def test_no_adapter_need_be_asked_for(text: str | None) -> None:
    assert parse_adapters(text, FOLDER) == ()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", r"^KAITO_ADAPTERS: is no JSON"),
        ("{}", r"^KAITO_ADAPTERS: found {}, must be a list"),
        ('["a"]', r"^KAITO_ADAPTERS\[0\]: found 'a', must be an object"),
        ("[{}]", r"^KAITO_ADAPTERS\[0\].name: found None"),
        ('[{"name": "../a"}]', r"\.name: found '\.\./a', must be lower-case letters"),
        ('[{"name": "a..b"}]', r"\.name: found 'a\.\.b'"),
        ('[{"name": "a"}, {"name": "a"}]', r"\[1\]\.name: found 'a' a second time"),
        ('[{"name": "a", "strength": "x"}]', r"\[0\]\.strength: found 'x', must be a"),
        ('[{"name": "a", "strength": "1.1"}]', r"a number from 0 to 1"),
        ('[{"name": "a", "strength": "nan"}]', r"a number from 0 to 1"),
        ('[{"name": "a", "strength": true}]', r"a number from 0 to 1"),
    ],
)
def test_a_wrong_list_is_told_by_its_field(text: str, wrong: str) -> None:
    with pytest.raises(FlagError, match=wrong):
        parse_adapters(text, FOLDER)


def test_every_field_of_peft_is_known_and_judged() -> None:
    """A new peft may bring a field that changes what an adapter adds."""
    peft = pytest.importorskip("peft")
    fields = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert fields == SUMMED | TOLD | BEYOND | {"init_lora_weights"}
    fresh = json.loads(json.dumps(peft.LoraConfig(r=8).to_dict()))
    assert parse_lora_config(json.dumps(fresh)).scaling_of("any") == 1.0


def config(**fields: Any) -> str:
    return json.dumps(PLAIN | fields)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"peft_type": "LOHA"}, "peft_type: found 'LOHA', must be 'LORA'"),
        ({"use_dora": True}, "use_dora: found True, which cannot be merged"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save: found"),
        ({"bias": "all"}, "bias: found 'all'"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights: found 'pissa"),
        ({"use_newest": True}, "use_newest: found True, a field of a later peft"),
        ({"r": 0}, "r: found 0, must be a whole number from 1"),
        ({"r": "8"}, "r: found '8'"),
        ({"lora_alpha": None}, "lora_alpha: found None, must be a number"),
        ({"lora_alpha": 10**400}, "lora_alpha: found 1000"),
        ({"use_rslora": "yes"}, "use_rslora: found 'yes', must be true or false"),
        ({"rank_pattern": {"(": 8}}, "which is no regular expression"),
        ({"alpha_pattern": [8]}, "alpha_pattern: found .8., must be an object"),
        ({"rank_pattern": {"q": 0}}, r"rank_pattern.q.: found 0"),
    ],
)
def test_what_cannot_be_merged_exactly_is_refused_by_its_field(
    fields: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(LoraConfigError, match=wrong):
        parse_lora_config(config(**fields))


def test_a_number_of_a_later_peft_changes_nothing_alone() -> None:
    parse_lora_config(config(qalora_group_size=16, some_size=3, some_switch=False))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(sorted(SUMMED | TOLD | BEYOND | {"later"})), JSON, max_size=4
    )
)
def test_any_configuration_is_understood_or_refused(fields: dict[str, Any]) -> None:
    try:
        read = parse_lora_config(json.dumps(PLAIN | fields))
    except LoraConfigError as error:
        assert str(error)  # noqa: PT017 - either is right
    else:
        assert math.isfinite(read.scaling_of("model.layers.0.q_proj"))


@given(JSON)
def test_any_list_of_adapters_is_understood_or_refused(value: Any) -> None:
    try:
        found = parse_adapters(json.dumps(value), FOLDER)
    except FlagError as error:
        assert str(error).startswith("KAITO_ADAPTERS")  # noqa: PT017 - either is right
    else:
        assert all(one.folder.parent == FOLDER for one in found)


def refused(adapter: Adapter) -> str:
    with pytest.raises(LoadError) as error:
        read_adapter(adapter)
    said = str(error.value)
    assert said.startswith(f"adapter {adapter.name!r}: {adapter.folder}")
    assert "\n" not in said
    return said


def test_an_adapter_without_files_is_told_what_it_must_hold(tmp_path: Path) -> None:
    folder = tmp_path / "legal"
    folder.mkdir()
    assert "holds no adapter_config.json: it must hold" in refused(
        Adapter("legal", 1.0, folder)
    )
    assert "holds no adapter_config.json" in refused(
        Adapter("other", 1.0, tmp_path / "other")
    )


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a", PAIR)
    (adapter.folder / WEIGHTS).rename(adapter.folder / "adapter_model.bin")
    assert "adapter_model.bin is a pickle" in refused(adapter)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    adapter = write_adapter(tmp_path / "a", PAIR)
    file = adapter.folder / name
    file.rename(tmp_path / "outside")
    file.symlink_to("../outside")
    assert f"{name} is a link that leads out of its folder" in refused(adapter)


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    """Volumes of ConfigMaps are made of them."""
    adapter = write_adapter(tmp_path / "a", PAIR)
    file = adapter.folder / CONFIG
    file.rename(adapter.folder / "..data")
    file.symlink_to("..data")
    assert list(read_adapter(adapter).factors) == ["layers.0.q_proj"]


def _pipe(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


def _cut_off(folder: Path) -> None:
    weights = folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])


def _save(**tensors: torch.Tensor) -> Callable[[Path], None]:
    def break_it(folder: Path) -> None:
        named = {PREFIX + name: tensor for name, tensor in tensors.items()}
        save_file(named, folder / WEIGHTS)

    return break_it


@pytest.mark.parametrize(
    ("break_it", "wrong"),
    [
        (lambda f: (f / CONFIG).write_text("{"), "found no JSON"),
        (lambda f: (f / CONFIG).write_text("[" * 10**4), "found no JSON"),
        (lambda f: (f / CONFIG).write_text("[]"), "must be an object"),
        (lambda f: (f / CONFIG).write_bytes(b"\xff"), "cannot be used"),
        (lambda f: (f / WEIGHTS).unlink(), "safetensors is missing"),
        (_pipe, "safetensors is missing, or no file"),
        (_cut_off, "is no safetensors file"),
        (lambda f: (f / WEIGHTS).write_bytes(b"PK\x03\x04"), "is no safetensors file"),
        (_save(), "holds no lora_A and lora_B tensors"),
        (_save(**{"q.lora_A.weight": torch.ones(4, 8)}), "q: must have one lora_A and"),
        (
            _save(**{"q.lora_A.weight": torch.ones(4, 8).int()}),
            "found I32, must be floating-point",
        ),
        (
            _save(
                **{
                    "q.lora_A.weight": torch.ones(4, 8),
                    "q.lora_B.weight": torch.ones(8, 4),
                    "q.lora_magnitude_vector": torch.ones(8),
                }
            ),
            "q.lora_magnitude_vector: is no lora_A or lora_B tensor",
        ),
    ],
)
def test_broken_files_are_told_in_one_line(
    tmp_path: Path, break_it: Callable[[Path], None], wrong: str
) -> None:
    adapter = write_adapter(tmp_path / "legal", PAIR)
    break_it(adapter.folder)
    assert wrong in refused(adapter)
