"""Keeps answers of slow questions: each is asked once at a time, few at once."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, final

from pykaito.operator.clock import Clock
from pykaito.reconcilers.hub.errors import UnreachableError
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.plan import PlanError

#: Answers that are kept at most; the ones used last.
KEPT: Final = 256
#: Questions that are under way at once.
AT_ONCE: Final = 4
#: Seconds that a failure holds, so that it passes. A model holds for good: another
#: commit of it must not roll out a server that nobody changed.
FRESH_FAILURE: Final = 30.0
#: … and at most, where a server asks to be left alone.
LONGEST_WAIT: Final = 300.0

Outcome = Preset | PlanError


@dataclass(frozen=True, slots=True)
class _Kept:
    outcome: Outcome
    #: On the monotonic clock.
    until: float


@final
class Answers:
    """What was found out of models, or why it was not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._running: dict[Hashable, asyncio.Task[Outcome]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[Preset]]) -> Preset:
        """Return the answer to a question, asking it if need be.

        A caller that is cancelled leaves the question to the others.

        Raises:
            PlanError: the question's, which is kept for a while as well.
        """
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic() < kept.until:
            self._kept.move_to_end(key)
            return _returned(kept.outcome)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, ask))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return _returned(await asyncio.shield(task))

    async def _ask(
        self, key: Hashable, ask: Callable[[], Awaitable[Preset]]
    ) -> Outcome:
        outcome: Outcome
        holds = math.inf
        async with self._slots:
            try:
                outcome = await ask()
            except PlanError as error:
                outcome, holds = error, FRESH_FAILURE
                if isinstance(error, UnreachableError):
                    holds = max(holds, min(error.retry_after, LONGEST_WAIT))
        self._kept[key] = _Kept(outcome, self._clock.monotonic() + holds)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return outcome


def _returned(outcome: Outcome) -> Preset:
    if isinstance(outcome, PlanError):
        # A new one for each caller: each adds its own traceback.
        raise PlanError(outcome.reason, str(outcome), terminal=outcome.terminal)
    return outcome
