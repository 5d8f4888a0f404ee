"""A hub with one model, for processes that are started meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.runtime.hf.hub_gate import TOKEN, Gate
from tests.unit.runtime.vllm.published import published_model


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Have the processes that fetch ask the stand-in; they read this at their start."""
    gate = Gate(published_model(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", gate.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    yield gate
    gate.close()
