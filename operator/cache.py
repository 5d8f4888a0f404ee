"""All informers of the process, one per selection, shared by its controllers."""

import asyncio
import random
from typing import final

from pykaito.operator.clock import Clock
from pykaito.operator.garbage import spared
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Resource
from pykaito.operator.reflector import ListWatch, Selection


@final
class Cache:
    """Makes informers and runs them.

    Args:
        client: where the objects come from.
        rng: spreads the ends of watches and the tries after failures.
    """

    def __init__(self, client: ListWatch, clock: Clock, rng: random.Random) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._informers: dict[Selection, Informer] = {}
        self._running: asyncio.TaskGroup | None = None

    def informer(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        optional: bool = False,
    ) -> Informer:
        """Return the informer of a selection, the same one each time.

        It runs as soon as the cache does. An optional one is for a resource that
        the server may lack, such as another project's custom resource: it is
        looked for, and found when it comes, but `wait_synced` goes on without it.
        One caller that does not say optional makes it required for all.
        """
        selection = Selection(
            resource, namespace, label_selector, field_selector, metadata_only
        )
        informer = self._informers.get(selection)
        if informer is None:
            informer = self._informers[selection] = Informer(
                self._client,
                selection,
                clock=self._clock,
                rng=self._rng,
                optional=optional,
            )
            if self._running is not None:
                self._running.create_task(informer.run())
        informer.optional = informer.optional and optional
        return informer

    async def run(self) -> None:
        """Run all informers, also those made later, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._running = group
            for informer in self._informers.values():
                group.create_task(informer.run())
            await asyncio.Event().wait()

    async def wait_synced(self, timeout: float) -> None:  # noqa: ASYNC109 - the error tells more than that time is up
        """Wait until every informer has listed its objects.

        Raises:
            TimeoutError: names the resources that are missing and why.
        """
        with spared():
            outcomes = await asyncio.gather(
                *(i.wait_settled(timeout) for i in self._informers.values()),
                return_exceptions=True,
            )
        late = [outcome for outcome in outcomes if isinstance(outcome, TimeoutError)]
        if late:
            raise TimeoutError("; ".join(map(str, late)))

    @property
    def has_synced(self) -> bool:
        """Whether `wait_synced` would return at once."""
        return all(informer.has_settled for informer in self._informers.values())

    @property
    def last_activity(self) -> float:
        """The least recent activity of all informers, on the monotonic clock.

        See `Reflector.last_activity`; the present when there are no informers.
        """
        return min(
            (informer.last_activity for informer in self._informers.values()),
            default=self._clock.monotonic(),
        )
