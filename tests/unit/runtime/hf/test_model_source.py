"""A model is found in its folder, and in an image that is mounted."""

from pathlib import Path

import pytest

from pykaito.reconcilers.inference.manifests.weights import WEIGHT_FOLDERS
from pykaito.runtime.hf.model_source import IMAGE_FOLDERS, LoadError, find_model


def put(folder: Path, name: str = "config.json") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("{}")
    return str(folder)


def test_a_folder_that_holds_a_model_is_where_it_is(tmp_path: Path) -> None:
    put(tmp_path / "models")
    assert find_model(put(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize("below", IMAGE_FOLDERS)
def test_a_mounted_image_is_looked_through(tmp_path: Path, below: str) -> None:
    expected = put(tmp_path / below)
    assert find_model(str(tmp_path)) == expected


def test_the_id_of_a_hub_is_left_alone() -> None:
    assert find_model("microsoft/phi-2") == "microsoft/phi-2"


def test_what_was_looked_for_is_named(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere")
    with pytest.raises(LoadError) as error:
        find_model(str(tmp_path), flag="--model")
    said = str(error.value)
    assert said.startswith(f"--model: found '{tmp_path}', a folder without config.json")
    assert all(folder in said for folder in IMAGE_FOLDERS)


def test_a_path_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="which is no folder here"):
        find_model(str(tmp_path / "missing"))


def test_a_model_in_another_format_is_found_where_that_will_do(tmp_path: Path) -> None:
    put(tmp_path / "models", "params.json")
    files = ("config.json", "params.json")
    assert find_model(str(tmp_path), files=files) == str(tmp_path / "models")
    with pytest.raises(LoadError):
        find_model(str(tmp_path))


def test_images_are_looked_through_alike_mounted_and_copied() -> None:
    assert tuple(f"/{folder}" for folder in IMAGE_FOLDERS) == WEIGHT_FOLDERS
