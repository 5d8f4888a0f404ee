"""Keeping a local copy of one resource: list once, then follow the changes.

The reflector is in one of two states:

    Listing     nothing is known, or what is known is too old: list everything
    Following   the copy equals the server's as of a resource version: watch on

    Listing   ── list answered ──────────────────────────────▶ Following
    Following ── event or bookmark ──────────────────────────▶ Following, later
    Following ── watch ended, broke or fell silent ──────────▶ Following, as before
    Following ── version expired, or the resource is gone ───▶ Listing

Broken connections lose nothing, because the next watch starts where the last one
stopped. One that held for a while is renewed at once; any other failure waits
before the next try, and longer after each in a row.
"""

import contextlib
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol, final

import structlog

from pykaito.operator.backoff import exponential
from pykaito.operator.clock import Clock
from pykaito.operator.errors import (
    ApiError,
    ExpiredError,
    NotFoundError,
    TransportError,
)
from pykaito.operator.objects import (
    ObjectList,
    Resource,
    WatchEvent,
    resource_version,
)

WATCH_SECONDS = (300, 600)
"""How long a watch is asked to last; spread, so that not all end at once."""

FIRST_DELAY = 0.8
LONGEST_DELAY = 30.0
"""Seconds between tries after failures, doubled each time, plus as much again by
chance: client-go's, so that a server coming back is not met by everyone at once."""

LONGEST_RETRY_AFTER = 120.0
"""A server that asks for a longer pause is asked again after this one."""

HEALTHY_SECONDS = 15.0
"""A watch that broke after this was a good one: it is longer than a connection
takes to fail, and shorter than a proxy lets a silent one live."""

SHORTEST_WATCH_SECONDS = 1.0
"""A watch that ends well sooner than this, with nothing said, is a failure."""

_log = structlog.get_logger(__name__)


class ListWatch(Protocol):
    """The verbs of the client that a reflector needs."""

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> ObjectList:
        """Return everything that matches, and the version it was read at."""

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        resource_version: str,
        timeout_seconds: int,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield what changes after that version; return when the watch ends."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource are meant; the default is all."""

    resource: Resource
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False
    """Of each object only apiVersion, kind and metadata: for objects whose content
    is large, secret or rarely read."""


class Sink(Protocol):
    """Where the copy is kept."""

    def replace(self, listed: ObjectList) -> None:
        """Become exactly what was listed."""

    def apply(self, event: WatchEvent) -> None:
        """Take one change; never a bookmark."""

    def failed(self, error: ApiError) -> None:
        """Hear that a list or watch failed; it will be tried again."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Nothing is known, or what is known is too old to go on from."""


@dataclass(frozen=True, slots=True)
class Following:
    """The sink equals the server's state as of `resource_version`."""

    resource_version: str


State = Listing | Following


def after_failure(state: State, error: ApiError) -> State:
    """Return where to go on after a list or watch failed.

    Only an answer that rules out the known version costs a new list: a list of
    everything is what a struggling server can do least.
    """
    lost = isinstance(error, ExpiredError | NotFoundError)
    if lost or error.resource_version_too_large:
        return Listing()
    return state


@final
class Reflector:
    """Feeds a sink with the objects of one selection until cancelled.

    Attributes:
        last_activity: on the clock's monotonic scale, when the reflector last
            heard something or gave up waiting for it. It grows also while the
            server is away; when it stands still for more than the longest delay
            and the watch's longest silence, the reflector itself is stuck.
        resource_version: up to which the sink knows everything; empty at first.
    """

    def __init__(
        self,
        api: ListWatch,
        selection: Selection,
        sink: Sink,
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._api = api
        self._selection = selection
        self._sink = sink
        self._clock = clock
        self._rng = rng
        self._failures = 0
        self.resource_version = ""
        self.state: State = Listing()
        self.last_activity = clock.monotonic()

    async def run(self) -> None:
        """List and follow, for ever; API errors are waited out, others raised."""
        while True:
            started = self._clock.monotonic()
            try:
                match self.state:
                    case Listing():
                        await self._list()
                    case Following(version):
                        await self._follow(version)
            except ApiError as error:
                self._heard()
                await self._recover(error, self._clock.monotonic() - started)

    async def _list(self) -> None:
        selection = self._selection
        listed = await self._api.list(
            selection.resource,
            namespace=selection.namespace,
            label_selector=selection.label_selector,
            field_selector=selection.field_selector,
            metadata_only=selection.metadata_only,
        )
        self._heard()
        self._sink.replace(listed)
        self._follow_from(listed.resource_version)

    async def _follow(self, version: str) -> None:
        """Watch until the server ends it; the state keeps up with every event."""
        selection = self._selection
        started = self._clock.monotonic()
        watch = self._api.watch(
            selection.resource,
            namespace=selection.namespace,
            label_selector=selection.label_selector,
            field_selector=selection.field_selector,
            metadata_only=selection.metadata_only,
            resource_version=version,
            timeout_seconds=self._rng.randint(*WATCH_SECONDS),
        )
        async with contextlib.aclosing(watch):
            async for event in watch:
                self._heard()
                if event.type != "BOOKMARK":
                    self._sink.apply(event)
                self._follow_from(resource_version(event.object))
        self._heard()
        lasted = self._clock.monotonic() - started
        if lasted < SHORTEST_WATCH_SECONDS and self.state == Following(version):
            raise ApiError(f"the server ended the watch after {lasted:.3f} s")
        self._failures = 0

    async def _recover(self, error: ApiError, lasted: float) -> None:
        """Choose the next state and wait before entering it."""
        if isinstance(self.state, Following) and lasted >= HEALTHY_SECONDS:
            self._failures = 0
            if isinstance(error, TransportError):
                # Proxies cut connections, and a resource that never changes is
                # silent for longer than a dead connection may be.
                return
        delay = exponential(self._failures, base=FIRST_DELAY, ceiling=LONGEST_DELAY)
        delay *= 1 + self._rng.random()
        delay = max(delay, min(error.retry_after or 0.0, LONGEST_RETRY_AFTER))
        self._failures += 1
        before, self.state = self.state, after_failure(self.state, error)
        # A missing resource or a long outage is told once, not each minute.
        say = _log.info if self._failures == 1 else _log.debug
        say(
            "cannot follow a resource, trying again",
            resource=str(self._selection.resource),
            doing=type(before).__name__,
            next=type(self.state).__name__,
            error=str(error),
            retry_in=round(delay, 1),
        )
        self._sink.failed(error)
        await self._clock.sleep(delay)

    def _follow_from(self, version: str) -> None:
        self.state = Following(version)
        self.resource_version = version

    def _heard(self) -> None:
        self.last_activity = self._clock.monotonic()
