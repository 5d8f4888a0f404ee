"""How events become requests, with real informers fed by hand."""

import random
from typing import Any

import pytest

from pykaito.operator.channel import Channel
from pykaito.operator.controller import Controller
from pykaito.operator.informer import Informer
from pykaito.operator.objects import (
    CONFIG_MAPS,
    NODES,
    Key,
    Object,
    ObjectList,
    Resource,
    WatchEvent,
    labels,
)
from pykaito.operator.predicates import any_of, generation_changed, labels_changed
from pykaito.operator.reconcile import Request, Result
from pykaito.operator.reflector import Selection
from pykaito.operator.workqueue import WorkQueue
from tests.unit.operator.memory_api import MemoryApi
from tests.unit.operator.virtual_time import VirtualClock

pytestmark = pytest.mark.virtual_time

WIDGETS = Resource("example.com", "v1", "Widget", "widgets")


class Reconciler:
    name = "widget"

    async def reconcile(self, request: Request) -> Result | None:
        raise NotImplementedError


def informer(resource: Resource) -> Informer:
    return Informer(
        MemoryApi(),
        Selection(resource),
        clock=VirtualClock(),
        rng=random.Random(1),  # noqa: S311 -- jitter is no secret
    )


@pytest.fixture
async def widgets() -> Informer:
    return informer(WIDGETS)


@pytest.fixture
async def children() -> Informer:
    return informer(CONFIG_MAPS)


@pytest.fixture
def queue(virtual_clock: VirtualClock) -> WorkQueue[Request]:
    return WorkQueue[Request](virtual_clock)


def obj(name: str, version: int = 1, **metadata: Any) -> dict[str, Any]:
    where = {"namespace": "default", "name": name, "uid": f"uid-{name}"}
    return {"metadata": where | {"resourceVersion": str(version)} | metadata}


def child(name: str, owner: str, version: int = 1, **reference: Any) -> dict[str, Any]:
    owned_by = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "name": owner,
        "uid": f"uid-{owner}",
        "controller": True,
    }
    return obj(name, version, ownerReferences=[owned_by | reference])


def added(what: dict[str, Any]) -> WatchEvent:
    return WatchEvent("ADDED", what)


def changed(what: dict[str, Any]) -> WatchEvent:
    return WatchEvent("MODIFIED", what)


async def names(queue: WorkQueue[Request]) -> list[str]:
    """Take everything; each must be a request to the widget controller."""
    taken = []
    while len(queue):
        request = await queue.get()
        queue.done(request)
        assert request.controller == "widget"
        taken.append(request.name)
    return taken


async def test_each_event_of_an_object_requests_its_reconcile(
    widgets: Informer, queue: WorkQueue[Request]
) -> None:
    Controller(Reconciler(), for_=widgets).start(queue)
    for event in (
        added(obj("a")),
        changed(obj("a", 2)),
        WatchEvent("DELETED", obj("a", 3)),
    ):
        widgets.apply(event)
        request = await queue.get()
        assert request == Request("widget", "default", "a")
        queue.done(request)


async def test_live_events_are_reconciled_before_the_first_list(
    widgets: Informer, queue: WorkQueue[Request]
) -> None:
    Controller(Reconciler(), for_=widgets).start(queue)
    widgets.replace(ObjectList([obj("listed-1"), obj("listed-2")], "2"))
    widgets.apply(added(obj("live", 3)))
    assert await names(queue) == ["live", "listed-1", "listed-2"]


async def test_what_the_cache_has_before_the_start_is_reconciled_too(
    widgets: Informer, queue: WorkQueue[Request]
) -> None:
    widgets.replace(ObjectList([obj("a"), obj("b")], "2"))
    Controller(Reconciler(), for_=widgets).start(queue)
    assert await names(queue) == ["a", "b"]


async def test_the_start_asks_no_mapper_since_it_reconciles_every_object_anyway(
    widgets: Informer, children: Informer, queue: WorkQueue[Request]
) -> None:
    asked: list[Object] = []

    def mapper(node: Object) -> list[Key]:
        asked.append(node)
        return [Key("default", "a")]

    nodes = informer(NODES)
    widgets.replace(ObjectList([obj("a")], "1"))
    children.replace(ObjectList([child("c", "a")], "1"))
    nodes.replace(ObjectList([obj("n")], "1"))
    controller = Controller(
        Reconciler(), for_=widgets, owns=[children], watches=[(nodes, mapper)]
    )
    controller.start(queue)
    assert await names(queue) == ["a"]
    assert asked == []
    nodes.apply(changed(obj("n", 2)))
    assert await names(queue) == ["a"]


async def test_a_watch_passes_only_what_its_predicates_let(
    widgets: Informer, queue: WorkQueue[Request]
) -> None:
    nodes = informer(NODES)
    watch = (nodes, lambda _: [Key("default", "a")], labels_changed)
    Controller(Reconciler(), for_=widgets, watches=[watch]).start(queue)
    nodes.apply(added(obj("n", labels={"for": "a"})))
    assert await names(queue) == ["a"]
    nodes.apply(changed(obj("n", 2, labels={"for": "a"})))
    assert len(queue) == 0
    nodes.apply(changed(obj("n", 3, labels={"for": "b"})))
    assert await names(queue) == ["a"]


async def test_a_relist_reconciles_what_changed_and_what_vanished(
    widgets: Informer, queue: WorkQueue[Request]
) -> None:
    widgets.replace(ObjectList([obj("same"), obj("changed"), obj("gone")], "2"))
    Controller(Reconciler(), for_=widgets).start(queue)
    await names(queue)
    widgets.replace(ObjectList([obj("same"), obj("changed", 7)], "8"))
    assert sorted(await names(queue)) == ["changed", "gone"]


async def test_predicates_filter_changes_of_the_object_itself(
    widgets: Informer, queue: WorkQueue[Request]
) -> None:
    worth_it = any_of(generation_changed, labels_changed)
    Controller(Reconciler(), for_=widgets, predicates=[worth_it]).start(queue)
    widgets.apply(added(obj("a", generation=1)))
    assert await names(queue) == ["a"]
    widgets.apply(changed(obj("a", 2, generation=1)))
    assert await names(queue) == []
    widgets.apply(changed(obj("a", 3, generation=2)))
    assert await names(queue) == ["a"]


async def test_all_predicates_must_pass(
    widgets: Informer, queue: WorkQueue[Request]
) -> None:
    both = [generation_changed, labels_changed]
    Controller(Reconciler(), for_=widgets, predicates=both).start(queue)
    widgets.apply(added(obj("a", generation=1)))
    await names(queue)
    widgets.apply(changed(obj("a", 2, generation=2)))
    assert await names(queue) == []


async def test_a_change_of_a_child_reconciles_its_owner(
    widgets: Informer, children: Informer, queue: WorkQueue[Request]
) -> None:
    never = [lambda _old, _new: False]
    controller = Controller(
        Reconciler(), for_=widgets, owns=[children], predicates=never
    )
    controller.start(queue)
    children.apply(added(child("a-config", "a")))
    assert await names(queue) == ["a"]
    children.apply(WatchEvent("DELETED", child("a-config", "a", 2)))
    assert await names(queue) == ["a"]


async def test_the_owner_is_matched_by_group_and_kind_whatever_the_version(
    widgets: Informer, children: Informer, queue: WorkQueue[Request]
) -> None:
    Controller(Reconciler(), for_=widgets, owns=[children]).start(queue)
    children.apply(added(child("new", "a", apiVersion="example.com/v2")))
    assert await names(queue) == ["a"]


@pytest.mark.parametrize(
    "reference",
    [
        {"controller": False},
        {"kind": "Gadget"},
        {"apiVersion": "example.org/v1"},
        {"apiVersion": "v1"},
    ],
)
async def test_an_owner_of_another_kind_or_that_is_no_controller_is_none_of_ours(
    widgets: Informer,
    children: Informer,
    queue: WorkQueue[Request],
    reference: dict[str, Any],
) -> None:
    Controller(Reconciler(), for_=widgets, owns=[children]).start(queue)
    children.apply(added(child("c", "a", **reference)))
    children.apply(added(obj("orphan")))
    assert await names(queue) == []


async def test_a_child_that_changes_hands_reconciles_both_owners(
    widgets: Informer, children: Informer, queue: WorkQueue[Request]
) -> None:
    Controller(Reconciler(), for_=widgets, owns=[children]).start(queue)
    children.apply(added(child("c", "a")))
    await names(queue)
    children.apply(changed(child("c", "b", 2)))
    assert await names(queue) == ["a", "b"]


async def test_a_cluster_scoped_owner_is_looked_for_outside_the_childs_namespace(
    children: Informer, queue: WorkQueue[Request]
) -> None:
    Controller(Reconciler(), for_=informer(NODES), owns=[children]).start(queue)
    children.apply(added(child("c", "node-1", apiVersion="v1", kind="Node")))
    assert await queue.get() == Request("widget", "", "node-1")


async def test_a_watch_asks_its_mapper_about_the_object_before_and_after(
    widgets: Informer, queue: WorkQueue[Request]
) -> None:
    def by_label(node: Object) -> list[Key]:
        return [Key("default", value) for value in labels(node).values()]

    nodes = informer(NODES)
    Controller(Reconciler(), for_=widgets, watches=[(nodes, by_label)]).start(queue)
    nodes.apply(added(obj("n", labels={"for": "a"})))
    assert await names(queue) == ["a"]
    nodes.apply(changed(obj("n", 2, labels={"for": "b"})))
    assert await names(queue) == ["a", "b"]


async def test_what_is_sent_through_a_channel_is_reconciled(
    widgets: Informer, queue: WorkQueue[Request]
) -> None:
    channel = Channel()
    channel.send(Key("default", "too-early"))
    Controller(Reconciler(), for_=widgets, channels=[channel]).start(queue)
    channel.send(Key("default", "a"))
    assert await queue.get() == Request("widget", "default", "a")
    assert len(queue) == 0
