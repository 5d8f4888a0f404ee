"""Keeps answers of slow questions: each is asked once at a time, few at once.

Whoever may create a Workspace can name a server that never answers, any number of
times. That must cost others no more than their turn: places are given by turns, a
namespace has so many questions at most, and few reconciles wait for an answer; the
others come back for it.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, final

from pykaito.operator.clock import Clock
from pykaito.reconcilers.hub.errors import UnreachableError, pending
from pykaito.reconcilers.hub.turns import Turns
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.plan import PlanError

#: Answers that are kept at most; the ones used last.
KEPT: Final = 1024
#: Questions that are under way at once.
AT_ONCE: Final = 4
#: Questions of one asker that wait to be asked, at most.
LONGEST_QUEUE: Final = 64
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
    """What was found out of models, or why it was not.

    Args:
        clock: time.
        held: callers in a hurry that wait for an answer, at most.
    """

    def __init__(self, clock: Clock, *, held: int) -> None:
        self._clock = clock
        self._free_to_wait = held
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._running: dict[Hashable, asyncio.Task[Outcome]] = {}
        self._turns = Turns(AT_ONCE)

    async def get(
        self,
        key: Hashable,
        ask: Callable[[], Awaitable[Preset]],
        *,
        asker: str = "",
        patient: bool = True,
    ) -> Preset:
        """Return the answer to a question, asking it if need be.

        A caller that is cancelled leaves the question to the others.

        Args:
            key: tells questions apart.
            ask: the question.
            asker: whose turn it takes.
            patient: wait however many others do.

        Raises:
            PlanError: the question's, which is kept for a while as well; or the
                answer is still to come.
        """
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic() < kept.until:
            self._kept.move_to_end(key)
            return _returned(kept.outcome)
        task = self._running.get(key)
        if task is None:
            if self._turns.waiting(asker) >= LONGEST_QUEUE:
                raise pending()
            task = asyncio.create_task(self._ask(key, ask, asker))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        if patient:
            return _returned(await asyncio.shield(task))
        if self._free_to_wait <= 0:
            raise pending()
        self._free_to_wait -= 1
        try:
            return _returned(await asyncio.shield(task))
        finally:
            self._free_to_wait += 1

    async def _ask(
        self, key: Hashable, ask: Callable[[], Awaitable[Preset]], asker: str
    ) -> Outcome:
        outcome: Outcome
        holds = math.inf
        async with self._turns.place(asker):
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
