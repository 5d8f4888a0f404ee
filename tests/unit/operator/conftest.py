"""Tests marked `virtual_time` run on an event loop whose time jumps."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

# importlib import mode adds no folder to the path; the helper modules of
# these tests (virtual_time.py) are imported by name.
sys.path.insert(0, str(Path(__file__).parent))

from virtual_time import VirtualClock, VirtualTimeLoop


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "virtual_time: run on an event loop whose time jumps"
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 -- the hook's signature
    item: pytest.Item,
) -> Mapping[str, type[asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.SelectorEventLoop}


@pytest.fixture
def virtual_clock() -> VirtualClock:
    return VirtualClock()
