"""Keeps asking the pods that load how far they are, and says when that is news."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import final

import structlog

from pykaito.api.labels import WORKSPACE
from pykaito.operator.channel import Channel
from pykaito.operator.clock import Clock
from pykaito.operator.objects import Key, Object, labels, namespace, uid
from pykaito.operator.store import Store
from pykaito.reconcilers.inference.loading.addresses import address
from pykaito.reconcilers.inference.loading.report import Report, is_news, read

#: Seconds between two rounds: the least between two questions to one pod.
PERIOD = 10.0
#: Pods that are asked at once. Each takes a connection for two seconds at most.
AT_ONCE = 16
#: Answers that may stay out before what was told is taken back: a server that has
#: begun to load may not find the time to answer.
MISSES = 3

Ask = Callable[[str], Awaitable[bytes | None]]
"""Returns the body that a server answers with while it loads, empty if it answers
something else, None if it does not answer; never raises for what a server does."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class _Pod:
    workspace: Key
    #: What it said last, and what of it was told.
    found: Report | None = None
    told: Report | None = None
    misses: int = 0


@final
class LoadWatch:
    """Asks each pod that loads a preset's model, while it does.

    It is no watch of Kubernetes', which does not know how far a pod is: so it asks
    again and again, within the bounds above. Nothing waits for it.

    Args:
        pods: those with a Workspace's label.
        workspaces: all of them.
        connect: makes what asks a pod.
        clock: time.
    """

    def __init__(
        self,
        pods: Store,
        workspaces: Store,
        connect: Callable[[], AbstractAsyncContextManager[Ask]],
        clock: Clock,
    ) -> None:
        self._cached = pods
        self._workspaces = workspaces
        self._connect = connect
        self._clock = clock
        self._pods: dict[str, _Pod] = {}
        #: Gets the key of a Workspace when `told` has changed for one of its pods.
        self.news = Channel()

    def told(self, pod: Object) -> Report | None:
        """Return how far a pod is, as of the last time that it was news.

        It stays as it is in between, so that whoever writes it elsewhere writes
        seldom.
        """
        known = self._pods.get(uid(pod))
        return known.told if known else None

    def reports(self) -> Iterator[tuple[Key, Report]]:
        """Yield how far each pod is, with the key of its Workspace."""
        for known in self._pods.values():
            if known.found:
                yield known.workspace, known.found

    async def run(self) -> None:
        """Ask round by round, for ever."""
        async with self._connect() as ask:
            while True:
                await self._round(ask)
                await self._clock.sleep(PERIOD)

    async def _round(self, ask: Ask) -> None:
        to_ask = dict(self._loading())
        self._pods = {
            of: self._pods.get(of) or _Pod(workspace)
            for of, (workspace, _) in to_ask.items()
        }
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for of, (_, url) in to_ask.items():
                group.create_task(self._ask(ask, url, self._pods[of], places))

    def _loading(self) -> Iterator[tuple[str, tuple[Key, str]]]:
        for pod in self._cached.list():
            workspace = Key(namespace(pod), labels(pod).get(WORKSPACE, ""))
            if url := address(pod, self._workspaces.get(workspace)):
                yield uid(pod), (workspace, url)

    async def _ask(
        self, ask: Ask, url: str, known: _Pod, places: asyncio.Semaphore
    ) -> None:
        try:
            async with places:
                body = await ask(url)
        except Exception:  # noqa: BLE001 - one pod's odd answer keeps no other from being asked
            _log.exception("asking a pod failed", url=url)
            body = None
        if body is None:
            known.misses += 1
            if known.misses < MISSES:
                return
        else:
            known.misses = 0
        known.found = read(body) if body else None
        if is_news(known.told, known.found):
            known.told = known.found
            self.news.send(known.workspace)
