"""Renders the chart with the real helm."""

import functools
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from hack import paths

CHART = paths.ROOT / "manifests" / "chart"
NAMESPACE = "pykaito-system"

Objects = list[dict[str, Any]]
Render = Callable[..., Objects]
Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Run helm; a failure is for the test to look at."""
    try:
        binary = paths.tool("helm")
    except FileNotFoundError as error:
        pytest.skip(f"waits for helm: {error}")

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [binary, *args]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Return the objects of a release named pykaito, given ``--set`` values."""

    @functools.cache
    def run(*values: str) -> Objects:
        sets = [word for value in values for word in ("--set", value)]
        done = helm("template", "pykaito", str(CHART), "--namespace", NAMESPACE, *sets)
        assert done.returncode == 0, done.stderr
        return [obj for obj in yaml.safe_load_all(done.stdout) if obj]

    return run
