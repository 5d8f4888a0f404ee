"""What a server has to have room for, of its list and its folder of adapters."""

import json
from pathlib import Path
from typing import Any

import pytest

from pykaito.runtime.hf.adapters import ADAPTERS_VARIABLE
from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.lora_files import CONFIG
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.vllm.adapter_start import LIST_VARIABLE, Start, adapters_at_start
from tests.unit.runtime.hf.lora import factors, write_adapter


def write(folder: Path, name: str, rank: int = 4) -> None:
    modules = {"model.layers.0.q_proj": factors(16, 16, rank=rank)}
    write_adapter(folder / name, modules, r=rank)


def start(tmp_path: Path, listed: Any, *, variable: str = LIST_VARIABLE) -> Start:
    text = listed if isinstance(listed, str) else json.dumps(listed)
    if variable == LIST_VARIABLE:
        file = tmp_path / "adapters.json"
        file.write_text(text)
        text = str(file)
    return adapters_at_start({variable: text}, tmp_path / "all", tmp_path / "scratch")


def names(found: Start) -> tuple[list[str], list[str]]:
    return [it.name for it in found.loras], [it.name for it in found.unlisted]


def test_what_the_pod_has_beside_the_list_may_be_listed_later(tmp_path: Path) -> None:
    for name, rank in (("law", 4), ("tone", 8)):
        write(tmp_path / "all", name, rank)
    found = start(tmp_path, [{"name": "law", "strength": "0.5"}])
    assert names(found) == (["law"], ["tone"])
    assert found.unlisted[0].rank == 8
    assert found.follows


def test_the_environment_lists_adapters_for_good(tmp_path: Path) -> None:
    for name in ("law", "tone"):
        write(tmp_path / "all", name)
    found = start(tmp_path, [{"name": "law"}], variable=ADAPTERS_VARIABLE)
    assert names(found) == (["law"], [])
    assert not found.follows


def test_an_adapter_of_the_next_pods_does_not_stop_this_one(tmp_path: Path) -> None:
    write(tmp_path / "all", "law")
    found = start(tmp_path, [{"name": "law"}, {"name": "new"}])
    assert names(found) == (["law"], [])


def test_a_listed_adapter_that_is_malformed_does(tmp_path: Path) -> None:
    write(tmp_path / "all", "law")
    (tmp_path / "all" / "law" / CONFIG).write_text("{")
    with pytest.raises(LoadError, match="adapter 'law'"):
        start(tmp_path, [{"name": "law"}])


def test_one_that_is_not_listed_any_more_does_not(tmp_path: Path) -> None:
    for name in ("law", "tone"):
        write(tmp_path / "all", name)
    (tmp_path / "all" / "tone" / CONFIG).write_text("{")
    assert names(start(tmp_path, [{"name": "law"}])) == (["law"], [])


def test_a_list_may_be_empty_and_a_folder_not_there(tmp_path: Path) -> None:
    assert start(tmp_path, []) == Start(follows=True)


@pytest.mark.parametrize(
    ("text", "said"), [("", "is empty"), ("{", "is no JSON"), ("[{}]", r"\[0\]\.name")]
)
def test_a_malformed_list_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FlagError, match=rf"adapters\.json.*{said}"):
        start(tmp_path, text)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    environ = {LIST_VARIABLE: str(tmp_path / "none.json")}
    with pytest.raises(FlagError, match=r"none\.json cannot be read"):
        adapters_at_start(environ, tmp_path, tmp_path)
