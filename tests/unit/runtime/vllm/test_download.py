"""A model of the hub, fetched by the hub's own client from the stand-in."""

import errno
import os
import time
from pathlib import Path

import pytest

from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.vllm import download as downloading
from pykaito.runtime.vllm import fetching
from pykaito.runtime.vllm.download import Wish, download, is_hub_id
from tests.unit.runtime.hf.hub_gate import MODEL, TOKEN, Gate
from tests.unit.runtime.vllm.published import SHARDS, WEIGHTS_BYTES


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    return Wish(MODEL, None, tmp_path / "cache", "auto")


def test_what_vllm_reads_is_fetched_with_the_token_which_no_log_shows(
    gate: Gate, wish: Wish, capfd: pytest.CaptureFixture[str]
) -> None:
    progress = Progress()
    folder = download(wish, progress)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        *SHARDS,
        "tokenizer.json",
    ]
    assert progress.stage == "downloading the weights"
    assert progress.report()["total_bytes"] == 2 * WEIGHTS_BYTES + 4
    assert progress.share == 1
    assert not any("pytorch_model.bin" in path for path in gate.asked)
    assert TOKEN not in "".join(capfd.readouterr())


def test_what_is_there_is_not_fetched_again(gate: Gate, wish: Wish) -> None:
    folder = download(wish, Progress())
    gate.asked.clear()
    progress = Progress()
    assert download(wish, progress) == folder
    assert progress.stage == "starting"


def test_a_hub_that_is_gone_is_no_error_where_all_was_fetched_before(
    gate: Gate, wish: Wish
) -> None:
    folder = download(wish, Progress())
    gate.close()
    assert download(wish, Progress()) == folder
    (folder / SHARDS[1]).unlink()
    with pytest.raises(LoadError, match=r"does not answer, and of .* not everything"):
        download(wish, Progress())


def test_a_hub_that_is_gone_from_the_first_is_named(gate: Gate, wish: Wish) -> None:
    gate.close()
    with pytest.raises(LoadError, match=r"^--model: the hub does not answer \("):
        download(wish, Progress())


@pytest.mark.parametrize(
    ("refusal", "wrong"),
    [
        ("GatedRepo", "^--model: the hub gives 'microsoft/.* accepted its terms"),
        ("RevisionNotFound", "^--revision: found 'v2', which 'microsoft/Phi-3"),
        ("RepoNotFound", "^--model: the hub has no model 'microsoft/Phi-3-mini"),
    ],
)
def test_a_hubs_refusal_is_told_in_plain_words(
    gate: Gate, tmp_path: Path, refusal: str, wrong: str
) -> None:
    gate.refusal = refusal
    with pytest.raises(LoadError, match=wrong):
        download(Wish(MODEL, "v2", tmp_path / "cache", "auto"), Progress())


def test_a_model_without_weights_is_none(gate: Gate, wish: Wish) -> None:
    for name in (*SHARDS, "pytorch_model.bin"):
        (gate.folder / name).unlink()
    with pytest.raises(LoadError, match="holds no weights that vLLM reads"):
        download(wish, Progress())


def test_a_file_that_was_cut_off_is_continued(gate: Gate, wish: Wish) -> None:
    for name in ("config.json", "tokenizer.json", SHARDS[1]):
        (gate.folder / name).unlink()
    (gate.folder / SHARDS[0]).rename(gate.folder / "model.safetensors")
    gate.cut = fetching.PIECE * 3 // 2
    folder = download(wish, Progress())
    fetched = (folder / "model.safetensors").read_bytes()
    assert fetched == (gate.folder / "model.safetensors").read_bytes()
    assert gate.ranges == [f"bytes={fetching.PIECE}-"]


@pytest.mark.usefixtures("gate")
def test_a_download_that_takes_too_long_is_given_up(wish: Wish) -> None:
    with pytest.raises(LoadError, match="took too long"):
        download(wish, Progress(), longest=0)


def test_a_process_that_is_killed_is_no_download(
    wish: Wish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "WORKER", "platform")
    with pytest.raises(LoadError, match=r"ended without a word, .* more memory"):
        download(wish, Progress())


class Link:
    """A connection that fails as often as a test says."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.pauses: list[float] = []

    def download(self) -> Path:
        if self.errors:
            raise self.errors.pop(0)
        return Path("/done")

    def try_often(self, wish: Wish) -> Path:
        return fetching._try_often(wish, self.download, pause=self.pauses.append)


def test_a_download_is_tried_again_after_pauses_that_grow(wish: Wish) -> None:
    link = Link(*[ConnectionError("reset")] * 7)
    assert link.try_often(wish) == Path("/done")
    assert link.pauses == [1, 2, 4, 8, 16, 32, 60]


def test_a_download_is_not_tried_for_ever(wish: Wish) -> None:
    link = Link(*[ConnectionError("reset")] * 99)
    with pytest.raises(LoadError, match=r"failed \(ConnectionError: reset\)"):
        link.try_often(wish)
    assert len(link.pauses) == 7


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("Data processing error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_at_once(wish: Wish, error: Exception) -> None:
    link = Link(error)
    with pytest.raises(LoadError, match="No space left on device"):
        link.try_often(wish)
    assert link.pauses == []


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    tmp_path: Path, wish: Wish
) -> None:
    fetching._check_room(wish, tmp_path, 1)
    with pytest.raises(LoadError, match=r"needs 1000000000\.0 GB more in .* are free"):
        fetching._check_room(wish, tmp_path, 10**18)


def test_what_killed_downloads_left_is_removed(tmp_path: Path) -> None:
    left, growing = tmp_path / "a.incomplete", tmp_path / "b.incomplete"
    left.touch()
    growing.touch()
    long_ago = time.time() - fetching.ABANDONED - 1
    os.utime(left, (long_ago, long_ago))
    fetching._remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [growing]


@pytest.mark.parametrize(
    ("model", "of_hub"),
    [
        ("microsoft/phi-2", True),
        ("/workspace/weights", False),
        ("./weights", False),
        ("s3://bucket/model", False),
        ("org/name:Q4_K_M", False),
        ("org/name/file.gguf", False),
        ("gpt2", False),
    ],
)
def test_a_hubs_model_is_told_from_a_folder(model: str, of_hub: bool) -> None:
    assert is_hub_id(model) is of_hub


def test_a_folder_of_that_name_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("org/name").mkdir(parents=True)
    assert not is_hub_id("org/name")
