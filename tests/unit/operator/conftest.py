"""The clock of tests that are marked `virtual_time`."""

import pytest

from tests.unit.operator.virtual_time import VirtualClock


@pytest.fixture
def virtual_clock() -> VirtualClock:
    return VirtualClock()
