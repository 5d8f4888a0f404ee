"""The scripts of the init containers, run as the kubelet runs them."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pykaito.api.parse import parse
from pykaito.api.v1beta1.adapter import Adapter
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.reconcilers.inference.manifests import adapters, weights
from pykaito.runtime.presets.plan import plan
from pykaito.runtime.presets.weights import FromImage
from tests.unit.reconcilers.workspaces import raw_workspace

UID = 65532


@pytest.fixture
def root() -> Iterator[Path]:
    """Return a folder that any user may write to."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o777)
        yield folder


def of_an_adapter() -> tuple[str, str, str]:
    """Return a script, a file of its image, and where that is copied to."""
    source = {"name": "law", "image": "r/law:1"}
    (container,) = adapters.copy_adapters(
        [Adapter.model_validate({"source": source})], main="w"
    )
    return container["command"][-1], "/data/adapter_config.json", "/mnt/adapter/law"


def of_weights() -> tuple[str, str, str]:
    """Return the same of the weights of an image."""
    server = plan(parse(Workspace, raw_workspace())).server
    assert server is not None
    private = replace(server, weights=FromImage("r/m:1"))
    (container,) = weights.copy_weights(private, main="w")
    return container["command"][-1], "/models/config.json", "/mnt/weights"


def run(script: str, root: Path) -> None:
    """Run a script with a folder in place of the container's root."""
    for folder in ("/pykaito-tools", "/mnt", "/data", "/models", "/workspace"):
        script = script.replace(folder, f"{root}{folder}")
    user = UID if os.geteuid() == 0 else None
    subprocess.run(["/bin/sh", "-c", script], check=True, user=user)


@pytest.mark.parametrize("copied", [of_an_adapter(), of_weights()])
def test_files_that_an_image_has_read_only_are_copied_anew_after_a_restart(
    root: Path, copied: tuple[str, str, str]
) -> None:
    script, file, target = copied
    tool = root / "pykaito-tools" / "busybox"
    tool.parent.mkdir()
    tool.parent.chmod(0o755)
    tool.write_text('#!/bin/sh\nexec "$@"\n')
    tool.chmod(0o755)
    there = root / file.removeprefix("/")
    there.parent.mkdir()
    there.parent.chmod(0o755)
    there.write_text("{}")
    there.chmod(0o444)
    into = root / target.removeprefix("/")
    into.mkdir(parents=True)
    into.chmod(0o777)
    run(script, root)
    run(script, root)
    assert (into / there.name).read_text() == "{}"
