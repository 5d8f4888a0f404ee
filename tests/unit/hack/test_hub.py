"""The stand-in for a hub of models, as the hub's own client finds it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

from hack.images.hub.server import Hub

FILES = {"config.json": b'{"model_type": "falcon"}', "model.safetensors": b"0123456789"}
MODEL = "tiiuae/falcon-7b"
PINNED = "c" * 40


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # Other tests of the same process may be without any hub.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    with Hub(("127.0.0.1", 0), {MODEL: folder}) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{hub.server_port}"
        hub.shutdown()
        thread.join(timeout=10)


@pytest.mark.parametrize("revision", [None, "main", PINNED])
def test_a_model_is_downloaded_whole_by_any_revision(
    endpoint: str, tmp_path: Path, revision: str | None
) -> None:
    folder = snapshot_download(
        MODEL, revision=revision, endpoint=endpoint, cache_dir=tmp_path / "cache"
    )
    assert {p.name: p.read_bytes() for p in Path(folder).iterdir()} == FILES


def test_a_pinned_commit_is_the_commit_that_is_given(
    endpoint: str, tmp_path: Path
) -> None:
    path = hf_hub_download(
        MODEL,
        "config.json",
        revision=PINNED,
        endpoint=endpoint,
        cache_dir=tmp_path / "cache",
    )
    assert Path(path).parent.name == PINNED


def test_what_a_model_consists_of_is_told_with_sizes(endpoint: str) -> None:
    info = HfApi(endpoint=endpoint).model_info(MODEL, files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    assert sizes == {name: len(content) for name, content in FILES.items()}
    tree = HfApi(endpoint=endpoint).list_repo_tree(MODEL, recursive=True)
    assert {file.path for file in tree} == FILES.keys()


def test_a_slow_model_takes_its_time_and_comes_whole(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    with Hub(("127.0.0.1", 0), {MODEL: tmp_path}, {MODEL: 500}) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{hub.server_port}/{MODEL}/resolve/main"
        began = time.monotonic()
        got = httpx.get(f"{url}/model.safetensors")
        took = time.monotonic() - began
        hub.shutdown()
        thread.join(timeout=10)
    assert got.content == b"x" * 100
    assert took >= 0.2


def test_a_model_that_is_not_there_is_refused_as_by_a_hub(endpoint: str) -> None:
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=endpoint).model_info("tiiuae/falcon-180b")


@pytest.mark.parametrize("file", ["pytorch_model.bin", "a/b.json"])
def test_a_file_that_is_not_there_is_told_from_a_missing_model(
    endpoint: str, tmp_path: Path, file: str
) -> None:
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(MODEL, file, endpoint=endpoint, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/%2e%2e/secret", "//etc/passwd", "/..", "/."]
)
def test_nothing_but_the_models_files_is_given_away(
    endpoint: str, tmp_path: Path, path: str
) -> None:
    (tmp_path / "secret").write_text("x")
    target = f"/{MODEL}/resolve/main{path}"
    with httpx.Client() as client:
        request = client.build_request("GET", endpoint)
        # As written: a client of good manners would shorten it.
        request.url = httpx.URL(endpoint).copy_with(raw_path=target.encode())
        assert client.send(request).status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=7-99", 206, b"789"),
        ("bytes=10-", 416, b""),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
def test_a_part_of_a_file_is_served(
    endpoint: str, wanted: str, status: int, content: bytes
) -> None:
    url = f"{endpoint}/{MODEL}/resolve/main/model.safetensors"
    got = httpx.get(url, headers={"Range": wanted})
    assert (got.status_code, got.content) == (status, content)
