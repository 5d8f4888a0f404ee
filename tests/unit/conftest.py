"""Tests marked `virtual_time` run on an event loop whose time jumps."""

import asyncio
from collections.abc import Mapping

import pytest

from tests.unit.operator.virtual_time import VirtualTimeLoop


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
