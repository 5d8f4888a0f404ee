"""What is in the operator's image, and that it runs as a user without rights."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.cluster.commands import ClusterError
from hack.images.build import build
from hack.images.catalogue import OPERATOR
from hack.images.store import Store

Run = Callable[..., str]


@pytest.fixture(scope="module")
def store() -> Store:
    if os.geteuid() != 0 or not shutil.which("buildah"):
        pytest.skip("waits for root and buildah, which make cluster installs")
    return Store()


@pytest.fixture(scope="module")
def reference(store: Store) -> str:
    return build(OPERATOR, store).reference


@pytest.fixture
def files(store: Store, reference: str) -> Iterator[Path]:
    """The image's files."""
    with store.locked(), store.mounted(reference) as root:
        yield root


@pytest.fixture
def run(store: Store, reference: str) -> Iterator[Run]:
    """Run a command in the image as the user that it names."""
    with store.locked():
        container = store.buildah("from", reference).strip()
        yield lambda *command: store.buildah("run", container, "--", *command)
        store.buildah("rm", container)


def test_pykaito_answers_as_a_user_that_is_not_root(run: Run) -> None:
    assert run("id", "-u").strip() == "65532"
    assert "operator" in run("pykaito", "--help")


def test_the_user_can_change_nothing_in_the_image(run: Run) -> None:
    with pytest.raises(ClusterError, match="Permission denied"):
        run("touch", "/opt/venv/bin/pykaito")


def test_the_image_holds_nothing_that_computes_and_no_installer(files: Path) -> None:
    (packages,) = files.glob("opt/venv/lib/python3.*/site-packages")
    held = {path.name for path in packages.iterdir()}
    assert "kr8s" in held
    assert not held & {"torch", "transformers", "vllm", "ray", "pip", "pytest"}
    assert not list(files.glob("opt/venv/bin/uv"))


def test_the_image_holds_bytecode_for_all_of_pykaito(files: Path) -> None:
    """Its root file system is read-only: Python cannot write any later."""
    (package,) = files.glob("opt/venv/lib/python3.*/site-packages/pykaito")
    sources = {path for path in package.rglob("*.py") if path.stat().st_size}
    compiled = {
        path.parent.parent / f"{path.name.partition('.')[0]}.py"
        for path in package.rglob("*.pyc")
    }
    assert sources
    assert sources <= compiled
