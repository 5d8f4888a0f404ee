"""Every example, and every Workspace of the documents, is one that can be applied."""

from pathlib import Path

import pytest
import yaml

from hack import paths
from tests.unit.cli.command import pykaito

EXAMPLES = sorted((paths.ROOT / "manifests" / "examples").glob("*.yaml"))
DOCUMENTS = sorted((paths.ROOT / "tests/e2e/seeds/documents").glob("*/*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid(path: Path) -> None:
    done = pykaito("validate", str(path))
    assert done.exit_code == 0, done.output
    assert "warning" not in done.output


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_brings_the_configuration_that_it_names(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    there = {d["metadata"]["name"] for d in documents if d["kind"] == "ConfigMap"}
    workspaces = [d for d in documents if d["kind"] == "Workspace"]
    assert workspaces
    named = {d["inference"]["config"] for d in workspaces if "config" in d["inference"]}
    assert named == there


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_documents_workspace_is_valid_or_waits_for_tuning(path: Path) -> None:
    done = pykaito("validate", str(path))
    tunes = "tuning" in yaml.safe_load(path.read_text())
    assert (done.exit_code == 0) is not tunes, done.output
    assert done.output.rstrip().endswith("(TuningNotSupported)") is tunes
