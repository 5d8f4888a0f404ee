"""The world that tests of agent pools run in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.provisioners.azure_arm.azure_world import AzureWorld


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[AzureWorld]:
    made = AzureWorld(tmp_path)
    async with made.azure():
        yield made


@pytest.fixture
async def arc_world(tmp_path: Path) -> AsyncIterator[AzureWorld]:
    made = AzureWorld(tmp_path, "arc")
    async with made.azure():
        yield made
