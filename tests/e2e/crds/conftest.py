"""The CRDs as a cluster holds them, and Workspaces to try on them."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.cases import make as make_object
from tests.e2e.crds.waiting import wait_established

CRDS = Path(__file__).parents[3] / "manifests" / "crds"


Kubectl = Callable[..., subprocess.CompletedProcess[str]]
Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session", autouse=True)
def crds(kubectl: Kubectl) -> None:
    """The CRDs of the working tree are installed and served."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    wait_established(kubectl, "-f", str(CRDS))


@pytest.fixture(scope="session")
def make() -> Make:
    """Make a valid object of a sort, with dotted paths changed; None removes one."""
    return make_object
