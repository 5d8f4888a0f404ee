"""A limit to what is made at once, over all Workspaces."""

from collections.abc import Sequence
from typing import final

from pykaito.operator.clock import Clock
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, key
from pykaito.reconcilers.workspace.machines import is_made

#: Seconds in which the cache has shown a Machine that was applied.
_PROMISE_SECONDS = 60.0


@final
class Budget:
    """Lets only so many Machines be made.

    Reconciles of several Workspaces run at once, and none sees in the cache what the
    others are about to apply. So what is let pass is remembered until it is there.
    """

    def __init__(self, machines: Informer, clock: Clock, limit: int) -> None:
        self.limit = limit
        self._machines = machines
        self._clock = clock
        self._promised: dict[Key, float] = {}

    def take(self, wanted: Sequence[Key]) -> Sequence[Key]:
        """Return those of the Machines that may be made, in their order."""
        now = self._clock.monotonic()
        made = {key(m) for m in self._machines.store.list() if is_made(m)}
        self._promised = {
            machine: since
            for machine, since in self._promised.items()
            if machine not in made and now - since < _PROMISE_SECONDS
        }
        room = self.limit - len(made | self._promised.keys())
        new = [machine for machine in wanted if machine not in made]
        repeated = [machine for machine in new if machine in self._promised]
        fresh = [machine for machine in new if machine not in self._promised]
        allowed = {*repeated, *fresh[: max(room, 0)]}
        self._promised |= dict.fromkeys(allowed, now)
        return [machine for machine in wanted if machine in made or machine in allowed]
