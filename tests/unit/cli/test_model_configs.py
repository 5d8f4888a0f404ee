"""Models that the catalogue does not have are planned from a folder, offline."""

import json
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.command import pykaito
from tests.unit.reconcilers.hub.stand_ins import LLAMA
from tests.unit.reconcilers.workspaces import raw_workspace

NAME = "someone/phi-4-tuned"


@pytest.fixture
def manifest() -> str:
    return yaml.safe_dump(raw_workspace(inference={"preset": {"name": NAME}}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / NAME).mkdir(parents=True)
    (tmp_path / NAME / "config.json").write_text(json.dumps(LLAMA))
    return tmp_path


def test_a_model_in_the_folder_is_planned(manifest: str, folder: Path) -> None:
    options = ("--model-configs", str(folder))
    planned = pykaito("plan", "-f", "-", *options, stdin=manifest)
    assert planned.exit_code == 0
    assert f"downloaded from the hub, {NAME}" in planned.stdout
    validated = pykaito("validate", "-f", "-", *options, stdin=manifest)
    assert f"{NAME}, nodes: 1, GPUs on each: 1" in validated.stdout


@pytest.mark.parametrize("command", ["plan", "validate"])
def test_without_it_the_way_is_said_and_the_nearest_name(
    manifest: str, command: str
) -> None:
    done = pykaito(command, "-f", "-", stdin=manifest)
    assert done.exit_code == 1
    said = done.stdout + done.stderr
    assert f"--model-configs DIR, as DIR/{NAME}/config.json" in said
    assert "did you mean phi-4" in said


def test_a_hub_without_a_scheme_is_refused() -> None:
    images = ("--vllm-image=y", "--transformers-image=x")
    done = pykaito("operator", *images, "--hub-endpoint=hub.local")
    assert done.exit_code == 2
    assert "found 'hub.local', must begin with" in done.stderr
