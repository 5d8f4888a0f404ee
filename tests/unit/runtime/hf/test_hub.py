"""Models of the hub, by the hub's own client, from the repository's stand-in."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pykaito.runtime.hf import hub
from pykaito.runtime.hf.hub import HubAnswer, ask_hub, cache_folder, told, weights_bytes
from pykaito.runtime.hf.model_source import LoadError

from .conftest import ROOT
from .hub_gate import MODEL, TOKEN, Gate

REVISION = "c" * 40
SIZES = {
    "config.json": 700,
    "model-00001-of-00002.safetensors": 5,
    "model-00002-of-00002.safetensors": 6,
    "consolidated.safetensors": 11,
    "original/model.safetensors": 11,
    "pytorch_model.bin": 11,
}


@pytest.fixture
def gate(model_folder: Callable[[str], Path]) -> Iterator[Gate]:
    gate = Gate(model_folder("phi3"))
    yield gate
    gate.close()


def serve(gate: Gate, cwd: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    """Load the hub's model in a process of its own, as a server does."""
    code = (
        "import os, sys; from pykaito.runtime.hf.environment import *;"
        "prepare_environment(os.environ, allow_remote_files=True, threads=1);"
        "from pykaito.runtime.hf.logs import configure_logs; configure_logs();"
        "from pykaito.runtime.hf.flags import parse_flags;"
        "from pykaito.runtime.hf.loading import load_model;"
        "from pykaito.runtime.hf.progress import Progress;"
        "load_model(parse_flags(sys.argv[1:]), Progress())"
    )
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and not name.endswith("_OFFLINE")
    }
    env |= {"HF_ENDPOINT": gate.url, "HF_TOKEN": TOKEN, "TMPDIR": str(cwd)}
    return subprocess.run(
        [
            *(sys.executable, "-c", code, "--allow_remote_files"),
            *(f"--pretrained_model_name_or_path={MODEL}", *flags),
        ],
        env=env | {"PYTHONPATH": str(ROOT)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_model_is_fetched_with_the_token_which_no_log_shows(
    gate: Gate, tmp_path: Path
) -> None:
    done = serve(gate, tmp_path, f"--revision={REVISION}")
    assert done.returncode == 0, done.stderr
    weights = f"/{MODEL}/resolve/{REVISION}/model.safetensors"
    assert weights in gate.asked
    for stage in ("downloading the weights", "loading the weights"):
        assert f'"event": "{stage}"' in done.stderr
    assert TOKEN not in done.stdout + done.stderr


@pytest.fixture
def asked(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Callable[..., HubAnswer]:
    """Ask the hub in this process, which was told at its start to be offline."""
    client = hub.HfApi
    monkeypatch.setattr(hub, "HfApi", lambda: client(endpoint=gate.url, token=TOKEN))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    def ask(revision: str | None = None) -> HubAnswer:
        return ask_hub(MODEL, revision)

    return ask


def test_the_weights_size_is_known_before_they_are_fetched(
    asked: Callable[..., HubAnswer], model_folder: Callable[[str], Path]
) -> None:
    weights = model_folder("phi3") / "model.safetensors"
    assert asked().weights == weights.stat().st_size


@pytest.mark.parametrize(
    ("refusal", "wrong"),
    [
        ("GatedRepo", "to those alone who have accepted its terms"),
        ("RevisionNotFound", "^--revision: found 'v2', which 'microsoft/Phi-3"),
        ("RepoNotFound", "the hub has no model 'microsoft/Phi-3-mini-4k-instruct'"),
    ],
)
def test_a_hubs_refusal_is_told_in_plain_words(
    gate: Gate, asked: Callable[..., HubAnswer], refusal: str, wrong: str
) -> None:
    gate.refusal = refusal
    with pytest.raises(LoadError, match=wrong):
        asked("v2")


def test_a_hub_that_does_not_answer_is_no_error_where_the_files_are_here(
    gate: Gate,
    asked: Callable[..., HubAnswer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate.close()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(LoadError, match=r"does not answer \(.*was not fetched before"):
        asked()
    cache_folder(MODEL).mkdir(parents=True)
    assert asked() == HubAnswer(silent=True)


def test_the_weights_are_those_that_transformers_chooses() -> None:
    assert weights_bytes(SIZES) == 11
    assert weights_bytes({"pytorch_model-00001-of-00002.bin": 3, "a.bin": 9}) == 3


def test_a_token_that_no_header_can_carry_is_not_repeated() -> None:
    error = ValueError(f"Illegal header value b'Bearer {TOKEN}\\x00'")
    assert told(error) == (
        "ValueError: Illegal header value b'(a token that cannot be sent)"
    )
