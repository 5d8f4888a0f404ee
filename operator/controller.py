"""A controller: a reconciler and the watches that feed it.

Events never reach the reconciler; they are turned into the keys of the objects
to reconcile and put into the work queue, where they merge.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import final

from pykaito.operator.channel import Channel
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object, key, namespace, owner_of
from pykaito.operator.predicates import Predicate
from pykaito.operator.reconcile import Reconciler, Request
from pykaito.operator.workqueue import Priority, WorkQueue

Mapper = Callable[[Object], Iterable[Key]]
"""Names the objects to reconcile when some other object changes."""

_Requests = Callable[[Object | None, Object | None], Iterable[Request]]


@final
class Controller:
    """Wires the events of informers to the requests of one reconciler.

    Args:
        reconciler: does the work; its name becomes the controller's.
        for_: the kind that is reconciled.
        owns: kinds whose objects are children of it: a change of a child
            reconciles the object that its owner reference with
            `controller: true` names.
        watches: other kinds, each with the function that says whom a change
            concerns, and any predicates that a change must pass. The function
            is asked about the object before and after, so that both are
            reconciled when an object moves from one to the other.
        channels: name `for_` objects to reconcile when something else changed.
        predicates: a change of a `for_` object is passed on when all of them
            let it. Children are not filtered: their status is what their
            parent waits for.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        *,
        for_: Informer,
        owns: Sequence[Informer] = (),
        watches: Sequence[tuple[Informer, Mapper, *tuple[Predicate, ...]]] = (),
        channels: Sequence[Channel] = (),
        predicates: Sequence[Predicate] = (),
    ) -> None:
        self.reconciler = reconciler
        self._for = for_
        self._owns = tuple(owns)
        self._watches = tuple(watches)
        self._channels = tuple(channels)
        self._predicates = tuple(predicates)

    @property
    def name(self) -> str:
        """The reconciler's name."""
        return self.reconciler.name

    def start(self, queue: WorkQueue[Request]) -> None:
        """Feed the queue from now on, beginning with what is cached already."""
        self._for.add_handler(_Enqueue(queue, self._requests_for_itself))
        for source in self._owns:
            self._for_each_side(queue, source, self._owner)
        for source, mapper, *predicates in self._watches:
            self._for_each_side(queue, source, mapper, predicates)
        for channel in self._channels:
            channel.receive(lambda target: queue.add(self._request(target)))

    def _for_each_side(
        self,
        queue: WorkQueue[Request],
        source: Informer,
        mapper: Mapper,
        predicates: Sequence[Predicate] = (),
    ) -> None:
        def requests(old: Object | None, new: Object | None) -> Iterable[Request]:
            if not all(passes(old, new) for passes in predicates):
                return ()
            sides = (side for side in (old, new) if side is not None)
            # dict.fromkeys drops doubles and keeps the order.
            return dict.fromkeys(
                self._request(target) for side in sides for target in mapper(side)
            )

        # What there is concerns objects that are in the queue already. To ask anyway
        # would take as long as there are pairs of both kinds.
        source.add_handler(_Enqueue(queue, requests), replay=False)

    def _requests_for_itself(
        self, old: Object | None, new: Object | None
    ) -> Iterable[Request]:
        obj = new if new is not None else old
        if obj is not None and all(passes(old, new) for passes in self._predicates):
            yield self._request(key(obj))

    def _owner(self, child: Object) -> Iterable[Key]:
        owner = owner_of(child)
        if owner is None:
            return
        parent = self._for.resource
        # Any served version of the group names the same object.
        group, _, _ = str(owner.get("apiVersion", "")).rpartition("/")
        if (group, owner.get("kind")) == (parent.group, parent.kind):
            # An owner lives in its child's namespace or in none.
            yield Key(namespace(child) if parent.namespaced else "", owner["name"])

    def _request(self, target: Key) -> Request:
        return Request(self.name, target.namespace, target.name)


@final
class _Enqueue:
    """Adds what an event asks for to the queue."""

    def __init__(self, queue: WorkQueue[Request], requests: _Requests) -> None:
        self._queue = queue
        self._requests = requests

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        priority = Priority.LOW if initial else Priority.NORMAL
        for request in self._requests(old, new):
            self._queue.add(request, priority=priority)
