"""Whoever reads after a write sees it, whatever lists say."""

from dataclasses import replace

from pykaito.provisioners.azure_arm.pool import Pool
from pykaito.provisioners.azure_arm.pools import GRACE_SECONDS, Pools

CREATING = Pool("ws1", "Creating")
READY = replace(CREATING, state="Succeeded")
DELETING = replace(CREATING, state="Deleting")


def test_nothing_is_known_before_the_first_list() -> None:
    pools = Pools()
    assert not pools.is_known("ws1")
    pools.replace(pools.begin(), [], 0.0)
    assert pools.is_known("ws1")
    assert pools.get("ws1") is None


def test_a_write_is_known_before_the_first_list() -> None:
    pools = Pools()
    pools.wrote("ws1", CREATING, 0.0)
    assert pools.is_known("ws1")
    assert not pools.is_known("ws2")


def test_a_list_that_began_before_a_write_does_not_undo_it() -> None:
    pools = Pools()
    began = pools.begin()
    pools.wrote("ws1", CREATING, 0.0)
    pools.replace(began, [], GRACE_SECONDS * 2)
    assert pools.get("ws1") == CREATING


def test_a_list_that_is_behind_does_not_undo_a_write_for_a_while() -> None:
    pools = Pools()
    pools.wrote("ws1", CREATING, 0.0)
    pools.replace(pools.begin(), [], GRACE_SECONDS - 1)
    assert pools.get("ws1") == CREATING
    pools.replace(pools.begin(), [], GRACE_SECONDS)
    assert pools.get("ws1") is None


def test_a_list_that_confirms_a_write_takes_over() -> None:
    pools = Pools()
    pools.wrote("ws1", CREATING, 0.0)
    assert pools.replace(pools.begin(), [READY], 1.0) == {"ws1"}
    assert pools.get("ws1") == READY
    assert pools.replace(pools.begin(), [], 2.0) == {"ws1"}
    assert pools.get("ws1") is None


def test_a_delete_holds_until_a_list_shows_it() -> None:
    pools = Pools()
    pools.replace(pools.begin(), [READY], 0.0)
    pools.wrote("ws1", DELETING, 1.0)
    assert pools.replace(pools.begin(), [READY], 2.0) == set()
    assert pools.get("ws1") == DELETING
    assert list(pools.list()) == [DELETING]
    assert pools.replace(pools.begin(), [], 3.0) == {"ws1"}


def test_a_pool_that_was_seen_to_be_gone_stays_gone() -> None:
    pools = Pools()
    began = pools.begin()
    pools.wrote("ws1", None, 0.0)
    pools.replace(began, [READY], 1.0)
    assert pools.get("ws1") is None
    assert list(pools.list()) == []
