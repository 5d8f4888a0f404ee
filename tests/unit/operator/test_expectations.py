"""Reading one's own writes; virtual time."""

import asyncio

import pytest

from pykaito.operator.expectations import WrittenVersions
from tests.unit.operator.virtual_time import VirtualClock

pytestmark = pytest.mark.virtual_time


class Cache:
    """An informer that has come to some version."""

    def __init__(self, version: str) -> None:
        self.resource_version = version


def written(version: str) -> dict[str, dict[str, str]]:
    return {"metadata": {"name": "a", "resourceVersion": version}}


async def test_a_parent_without_writes_is_not_pending() -> None:
    assert not WrittenVersions[str](VirtualClock()).pending("parent")


async def test_a_parent_is_pending_until_the_cache_reaches_its_write() -> None:
    versions, pods = WrittenVersions[str](VirtualClock()), Cache("99")
    versions.note("parent", pods, written("100"))
    assert versions.pending("parent")
    assert not versions.pending("another")
    pods.resource_version = "100"
    assert not versions.pending("parent")
    pods.resource_version = "99"
    assert not versions.pending("parent")


async def test_versions_are_compared_as_numbers() -> None:
    versions, pods = WrittenVersions[str](VirtualClock()), Cache("1000")
    versions.note("parent", pods, written("999"))
    assert not versions.pending("parent")


async def test_every_resource_written_must_be_reached() -> None:
    versions, pods, nodes = WrittenVersions[str](VirtualClock()), Cache("1"), Cache("1")
    versions.note("parent", pods, written("5"))
    versions.note("parent", nodes, written("6"))
    pods.resource_version = "9"
    assert versions.pending("parent")
    nodes.resource_version = "9"
    assert not versions.pending("parent")


async def test_a_write_that_changed_nothing_does_not_hide_an_earlier_one() -> None:
    versions, pods = WrittenVersions[str](VirtualClock()), Cache("50")
    versions.note("parent", pods, written("100"))
    versions.note("parent", pods, written("40"))
    assert versions.pending("parent")


async def test_a_cache_that_knows_nothing_yet_has_not_reached_anything() -> None:
    versions = WrittenVersions[str](VirtualClock())
    versions.note("parent", Cache(""), written("1"))
    assert versions.pending("parent")


async def test_a_write_that_never_shows_is_waited_for_half_a_minute() -> None:
    versions, pods = WrittenVersions[str](VirtualClock()), Cache("1")
    versions.note("parent", pods, written("5"))
    await asyncio.sleep(29.9)
    assert versions.pending("parent")
    await asyncio.sleep(0.2)
    assert not versions.pending("parent")


async def test_a_version_that_is_no_number_holds_nothing_back() -> None:
    versions = WrittenVersions[str](VirtualClock())
    versions.note("parent", Cache("1"), written("opaque"))
    assert not versions.pending("parent")


async def test_parents_that_nobody_asks_about_are_forgotten() -> None:
    versions, pods = WrittenVersions[int](VirtualClock()), Cache("1")
    for parent in range(100):
        versions.note(parent, pods, written("5"))
        await asyncio.sleep(1)
    assert len(versions._parents) <= 30
