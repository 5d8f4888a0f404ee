"""Packing a model's files, with the real buildah."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.images.packing import pack_adapter, pack_weights
from hack.images.registry import Registry
from hack.images.store import Store


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\0" * 1024)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "containers")
    yield store
    store.delete()


def needs_buildah() -> None:
    if os.geteuid() != 0 or not shutil.which("buildah"):
        pytest.skip("waits for root and buildah, which make cluster installs")


def test_a_weights_image_holds_the_files_where_a_workspace_looks(
    model: Path, store: Store
) -> None:
    needs_buildah()
    built = pack_weights(model, "phi-3", store)
    assert built.repository == "pykaito/weights-phi-3"
    with store.locked(), store.mounted(built.reference) as root:
        files = [path.name for path in root.rglob("*") if path.is_file()]
        weights = root / "workspace" / "weights" / "model.safetensors"
        assert weights.stat().st_size == 1024
        assert sorted(files) == ["config.json", "model.safetensors"]


def test_an_adapter_image_holds_the_files_where_a_workspace_looks(
    model: Path, store: Store
) -> None:
    needs_buildah()
    built = pack_adapter(model, "legal", store)
    assert built.repository == "pykaito/adapter-legal"
    with store.locked(), store.mounted(built.reference) as root:
        files = {path for path in root.rglob("*") if path.is_file()}
        data = root / "data"
        assert files == {data / "config.json", data / "model.safetensors"}


def test_packing_the_same_files_again_builds_nothing(model: Path, store: Store) -> None:
    needs_buildah()
    first = pack_weights(model, "phi-3", store)
    images = store.buildah("images", "--all", "--quiet")
    assert pack_weights(model, "phi-3", store) == first
    assert store.buildah("images", "--all", "--quiet") == images


def test_a_deleted_store_leaves_no_file_and_no_mount(model: Path, store: Store) -> None:
    needs_buildah()
    pack_weights(model, "phi-3", store)
    store.delete()
    assert not store.folder.exists()
    assert str(store.folder) not in Path("/proc/mounts").read_text()


@pytest.mark.parametrize("name", ["Phi", "a/b", "a--b", "", "-a", "a:1"])
def test_a_name_that_no_registry_takes_is_refused(model: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name: "):
        pack_weights(model, name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json"):
        pack_weights(tmp_path, "phi-3")


def test_a_login_is_written_as_containers_tools_read_it() -> None:
    registry = Registry("10.0.0.1:5001", "user", "secret")
    assert json.loads(registry.authfile) == {
        "auths": {"10.0.0.1:5001": {"auth": "dXNlcjpzZWNyZXQ="}}
    }
