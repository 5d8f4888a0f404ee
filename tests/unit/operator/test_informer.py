"""What handlers hear and the store holds, list by list and event by event."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from pykaito.operator.frozen import thaw
from pykaito.operator.informer import Informer
from pykaito.operator.objects import PODS, Key, Object, WatchEvent
from pykaito.operator.reflector import Selection
from tests.unit.operator.model_api import CHOSEN, ModelApi, expired
from tests.unit.operator.virtual_time import VirtualClock, settle

pytestmark = pytest.mark.virtual_time


class Listener:
    """Writes down what it hears, and what the store had at that moment."""

    def __init__(self, informer: Informer) -> None:
        self.heard: list[tuple[str, str, int]] = []
        self.initial: list[bool] = []
        self.stored: list[Object | None] = []
        self._informer = informer

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        what = "added" if old is None else "deleted" if new is None else "changed"
        obj: Mapping[str, Any] = new or old or {}
        self.heard.append((what, obj["metadata"]["name"], obj["count"]))
        self.initial.append(initial)
        at = Key("ns", obj["metadata"]["name"])
        self.stored.append(self._informer.store.get(at))


class Setup:
    def __init__(self, selection: Selection) -> None:
        self.api = ModelApi()
        self.informer = Informer(
            self.api,
            selection,
            clock=VirtualClock(),
            rng=random.Random(1),  # noqa: S311 - spread, not secrecy
        )
        self.listener = Listener(self.informer)
        self.informer.add_handler(self.listener)
        self.task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self.task = asyncio.create_task(self.informer.run())
        await settle()
        self.forget()

    def forget(self) -> None:
        self.listener.heard.clear()
        self.listener.initial.clear()
        self.listener.stored.clear()

    async def relist(self) -> None:
        """Make the informer list again, having missed everything before."""
        self.api.compact()
        self.api.end_watches(expired())
        await asyncio.sleep(5)


@pytest.fixture
async def setup(request: pytest.FixtureRequest) -> AsyncIterator[Setup]:
    made = Setup(getattr(request, "param", Selection(PODS)))
    yield made
    if made.task is not None:
        made.task.cancel()
        await asyncio.wait([made.task])


async def test_the_first_list_is_told_as_additions_marked_initial(
    setup: Setup,
) -> None:
    setup.api.create("a")
    setup.api.create("b")
    assert not setup.informer.has_synced
    setup.task = asyncio.create_task(setup.informer.run())
    await setup.informer.wait_synced(1)
    assert setup.informer.has_synced
    assert setup.listener.heard == [("added", "a", 0), ("added", "b", 0)]
    assert setup.listener.initial == [True, True]


async def test_live_changes_are_told_in_order_once_the_store_has_them(
    setup: Setup,
) -> None:
    await setup.begin()
    setup.api.create("a")
    setup.api.update("a")
    setup.api.delete("a")
    await settle()
    assert setup.listener.heard == [
        ("added", "a", 0),
        ("changed", "a", 1),
        ("deleted", "a", 1),
    ]
    assert setup.listener.initial == [False] * 3
    counts = [stored and stored["count"] for stored in setup.listener.stored]
    assert counts == [0, 1, None]


async def test_what_a_relist_finds_gone_new_or_changed_is_told_and_nothing_else(
    setup: Setup,
) -> None:
    for name in ("gone", "same", "changed"):
        setup.api.create(name)
    await setup.begin()
    setup.api.cut_watches()
    setup.api.delete("gone")
    setup.api.update("changed")
    setup.api.create("new")
    await setup.relist()
    assert sorted(setup.listener.heard) == [
        ("added", "new", 0),
        ("changed", "changed", 1),
        ("deleted", "gone", 0),
    ]
    assert setup.listener.initial == [True] * 3


async def test_an_object_made_again_unseen_is_a_deletion_and_an_addition(
    setup: Setup,
) -> None:
    setup.api.create("a")
    setup.api.update("a")
    await setup.begin()
    setup.api.cut_watches()
    setup.api.delete("a")
    setup.api.create("a")
    await setup.relist()
    assert setup.listener.heard == [("deleted", "a", 1), ("added", "a", 0)]


async def test_another_uid_in_an_event_is_a_deletion_and_an_addition(
    setup: Setup,
) -> None:
    first = setup.api.create("a")
    await setup.begin()
    first["metadata"]["uid"] = "another"
    setup.api.update("a", count=9)
    await settle()
    assert setup.listener.heard == [("deleted", "a", 0), ("added", "a", 9)]


async def test_a_deletion_of_what_is_not_known_is_not_told(setup: Setup) -> None:
    setup.api.create("a")
    await setup.begin()
    [known] = setup.informer.store.list()
    earlier = thaw(known)
    earlier["metadata"]["uid"] = "of an earlier one"
    unknown = thaw(known)
    unknown["metadata"]["name"] = "b"
    setup.informer.apply(WatchEvent("DELETED", earlier))
    setup.informer.apply(WatchEvent("DELETED", unknown))
    assert setup.listener.heard == []
    assert setup.informer.store.list() == [known]


async def test_a_deletion_tells_the_last_state_of_all(setup: Setup) -> None:
    setup.api.create("a")
    await setup.begin()
    last = setup.api.delete("a")
    seen: list[Object | None] = []

    class Keeper:
        def on_event(
            self, old: Object | None, new: Object | None, *, initial: bool
        ) -> None:
            if not initial:
                seen.extend((old, new))

    setup.informer.add_handler(Keeper())
    await settle()
    assert seen == [last, None]


@pytest.mark.parametrize(
    "setup", [Selection(PODS, label_selector=CHOSEN)], indirect=True
)
async def test_an_object_that_leaves_the_selection_is_deleted_and_may_come_back(
    setup: Setup,
) -> None:
    setup.api.create("a")
    await setup.begin()
    setup.api.update("a", chosen=False)
    setup.api.update("a")
    await settle()
    assert len(setup.informer.store) == 0
    setup.api.update("a", chosen=True)
    await settle()
    assert setup.listener.heard == [("deleted", "a", 0), ("added", "a", 3)]


async def test_a_late_handler_hears_of_what_is_there(setup: Setup) -> None:
    setup.api.create("a")
    await setup.begin()
    late = Listener(setup.informer)
    setup.informer.add_handler(late)
    assert (late.heard, late.initial) == ([("added", "a", 0)], [True])


async def test_a_handler_that_fails_takes_nothing_from_the_others(
    setup: Setup,
) -> None:
    class Broken:
        def on_event(self, *_: object, **__: object) -> None:
            raise RuntimeError("a bug")

    setup.informer.add_handler(Broken())
    after = Listener(setup.informer)
    setup.informer.add_handler(after)
    await setup.begin()
    setup.api.create("a")
    await settle()
    assert setup.listener.heard == after.heard == [("added", "a", 0)]


async def test_what_is_stored_has_no_managed_fields_and_cannot_be_changed(
    setup: Setup,
) -> None:
    setup.api.create("listed")
    await setup.begin()
    setup.api.create("watched")
    await settle()
    for obj in setup.informer.store.list():
        assert "managedFields" not in obj["metadata"]
        with pytest.raises(TypeError, match="belongs to the cache"):
            obj["metadata"]["labels"] = {}


async def test_what_is_stored_has_no_second_copy_in_an_annotation(
    setup: Setup,
) -> None:
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    made = setup.api.create("a")
    annotations = {applied: "{}", "mine": "kept"}
    setup.api.update("a", metadata=made["metadata"] | {"annotations": annotations})
    await setup.begin()
    (stored,) = setup.informer.store.list()
    assert stored["metadata"]["annotations"] == {"mine": "kept"}


async def test_the_version_reached_is_that_of_the_last_change(setup: Setup) -> None:
    assert setup.informer.resource_version == ""
    await setup.begin()
    made = setup.api.create("a")
    await settle()
    assert setup.informer.resource_version == made["metadata"]["resourceVersion"]


async def test_waiting_for_a_server_that_is_away_says_so(setup: Setup) -> None:
    setup.api.absent.add(PODS)
    setup.task = asyncio.create_task(setup.informer.run())
    with pytest.raises(TimeoutError, match="pods not listed within 9 s: 404"):
        await setup.informer.wait_synced(9)
