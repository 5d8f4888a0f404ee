"""A store kept equal to the server, and handlers that hear of each change."""

import asyncio
import random
from typing import Protocol, final

import structlog

from pykaito.operator.clock import Clock
from pykaito.operator.errors import ApiError, NotFoundError
from pykaito.operator.frozen import FrozenDict, freeze
from pykaito.operator.objects import (
    Object,
    ObjectList,
    Resource,
    WatchEvent,
    key,
    resource_version,
    uid,
)
from pykaito.operator.reflector import ListWatch, Reflector, Selection
from pykaito.operator.store import Store

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_log = structlog.get_logger(__name__)


class EventHandler(Protocol):
    """Hears of changes; must be quick and never wait, since all others do."""

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        """Take a change that the store has already.

        Args:
            old: the last known state; None when the object was not known.
            new: the state now; None when the object was deleted, or no longer
                matches the informer's selectors.
            initial: the change was found by listing, not as it happened.
        """


@final
class Informer:
    """One resource's objects, as far as they match a selection.

    An object that was deleted and made again under its name is told as a deletion
    and an addition, also when the watch saw neither.

    Attributes:
        store: what is known; empty until `has_synced`.
        optional: whether the server may lack the resource. It is looked for
            nevertheless, but whoever waits for the cache goes on without it.
    """

    def __init__(
        self,
        api: ListWatch,
        selection: Selection,
        *,
        clock: Clock,
        rng: random.Random,
        optional: bool = False,
    ) -> None:
        self.selection = selection
        self.store = Store()
        self.optional = optional
        self._handlers: list[EventHandler] = []
        self._synced = asyncio.Event()
        self._synced_or_absent = asyncio.Event()
        self._error: ApiError | None = None
        self._reflector = Reflector(api, selection, self, clock=clock, rng=rng)

    @property
    def resource(self) -> Resource:
        """The resource whose objects these are."""
        return self.selection.resource

    @property
    def has_synced(self) -> bool:
        """Whether everything was listed at least once."""
        return self._synced.is_set()

    @property
    def has_settled(self) -> bool:
        """Whether it has synced, or is optional and its resource is missing."""
        return self._settled.is_set()

    @property
    def resource_version(self) -> str:
        """The version up to which every change is in the store; empty at first."""
        return self._reflector.resource_version

    @property
    def last_activity(self) -> float:
        """See `Reflector.last_activity`."""
        return self._reflector.last_activity

    async def run(self) -> None:
        """Keep the store up to date until cancelled."""
        await self._reflector.run()

    async def wait_synced(self, timeout: float) -> None:  # noqa: ASYNC109 - the error tells more than that time is up
        """Wait until `has_synced`; TimeoutError says what stands in the way."""
        await self._wait(self._synced, timeout)

    async def wait_settled(self, timeout: float) -> None:  # noqa: ASYNC109 - same
        """Wait until `has_settled`; TimeoutError says what stands in the way."""
        await self._wait(self._settled, timeout)

    @property
    def _settled(self) -> asyncio.Event:
        return self._synced_or_absent if self.optional else self._synced

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            cause = self._error or "the server has not answered yet"
            raise TimeoutError(
                f"{self.resource} not listed within {seconds:g} s: {cause}"
            ) from self._error

    def add_handler(self, handler: EventHandler, *, replay: bool = True) -> None:
        """Tell `handler` of all that comes, and first of what is known, as initial.

        Without `replay` of what comes only.
        """
        self._handlers.append(handler)
        for obj in self.store.list() if replay else ():
            self._tell(handler, None, obj, initial=True)

    def replace(self, listed: ObjectList) -> None:
        """Become what was listed; the reflector calls this."""
        now = {key(obj): obj for obj in map(_prepared, listed.items)}
        for old in self.store.list():
            if key(old) not in now:
                self._remove(old, initial=True)
        for obj in now.values():
            self._put(obj, initial=True)
        self._error = None
        self._synced.set()
        self._synced_or_absent.set()

    def apply(self, event: WatchEvent) -> None:
        """Take one change; the reflector calls this."""
        obj = _prepared(event.object)
        if event.type != "DELETED":
            self._put(obj, initial=False)
            return
        old = self.store.get(key(obj))
        if old is not None and uid(old) == uid(obj):
            # The event has the last state, which is later than what is stored.
            self._remove(obj, initial=False)

    def failed(self, error: ApiError) -> None:
        """Keep the cause for those who wait; the reflector calls this."""
        self._error = error
        if isinstance(error, NotFoundError):
            self._synced_or_absent.set()

    def _put(self, obj: FrozenDict, *, initial: bool) -> None:
        old = self.store.get(key(obj))
        if old is not None and uid(old) != uid(obj):
            self._remove(old, initial=initial)
            old = None
        if old is not None and resource_version(old) == resource_version(obj):
            return
        self.store.put(obj)
        for handler in self._handlers:
            self._tell(handler, old, obj, initial=initial)

    def _remove(self, last: Object, *, initial: bool) -> None:
        self.store.discard(key(last))
        for handler in self._handlers:
            self._tell(handler, last, None, initial=initial)

    def _tell(
        self,
        handler: EventHandler,
        old: Object | None,
        new: Object | None,
        *,
        initial: bool,
    ) -> None:
        try:
            handler.on_event(old, new, initial=initial)
        except Exception:  # noqa: BLE001 - one handler's bug must not cost the others their events
            _log.exception(
                "a handler failed, its event is lost",
                resource=str(self.resource),
                key=str(key(new or old or {})),
            )


def _prepared(item: dict[str, object]) -> FrozenDict:
    """Return the object as it is stored, without what no reconciler reads.

    managedFields are a quarter of a typical object's memory, and kubectl's own
    annotation holds the whole object once more.
    """
    metadata = item["metadata"]
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
        (metadata.get("annotations") or {}).pop(LAST_APPLIED, None)
    return freeze(item)
