"""What is known of a cluster's pools: the last list, and what was written since."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

from pykaito.provisioners.azure_arm.pool import Pool
from pykaito.provisioners.errors import ProvisionError

GRACE_SECONDS = 60.0
"""How long a list may go on to show what was before a write."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What a write brought about; None for a pool that is gone."""

    pool: Pool | None
    serial: int
    at: float

    def confirmed_by(self, listed: Pool | None) -> bool:
        if self.pool is None or self.pool.deleting:
            return listed is None or listed.deleting
        return listed is not None


@final
class Pools:
    """Pools by name, such that a write is seen by whoever reads after it.

    A list that was begun before a write knows nothing of it, and one begun soon
    after may not either: until a list confirms it, the write's own answer counts.

    Attributes:
        error: why the last list failed; None when it did not.
    """

    error: ProvisionError | None

    def __init__(self) -> None:
        self.error = None
        self._listed: Mapping[str, Pool] | None = None
        self._written: dict[str, _Written] = {}
        self._serial = 0

    @property
    def known(self) -> bool:
        """Whether there was a list yet, so that what is not known is not there."""
        return self._listed is not None

    def get(self, name: str) -> Pool | None:
        """Return the pool of that name, None when none is known."""
        if (written := self._written.get(name)) is not None:
            return written.pool
        return (self._listed or {}).get(name)

    def list(self) -> Iterable[Pool]:
        """Return all pools that are known."""
        names = dict.fromkeys([*(self._listed or ()), *self._written])
        return [pool for name in names if (pool := self.get(name)) is not None]

    def is_known(self, name: str) -> bool:
        """Whether what `get` says of the name can be relied on."""
        return self.known or name in self._written

    def wrote(self, name: str, pool: Pool | None, now: float) -> None:
        """Take what a write, or a look at the one pool, brought to light.

        Args:
            name: the pool's.
            pool: as it is now; None when it is gone.
            now: on the monotonic clock.
        """
        self._serial += 1
        self._written[name] = _Written(pool, self._serial, now)

    def begin(self) -> int:
        """Return what a list that begins now is to be handed in with."""
        return self._serial

    def replace(self, began: int, listed: Iterable[Pool], now: float) -> set[str]:
        """Take a list; return the names of the pools that it shows to have changed.

        Args:
            began: what `begin` returned before the list was asked for.
            listed: all pools of the cluster.
            now: on the monotonic clock.
        """
        before = {pool.name: pool for pool in self.list()}
        found = {pool.name: pool for pool in listed}
        self._written = {
            name: written
            for name, written in self._written.items()
            if written.serial > began
            or (
                now - written.at < GRACE_SECONDS
                and not written.confirmed_by(found.get(name))
            )
        }
        self._listed = found
        self.error = None
        after = {pool.name: pool for pool in self.list()}
        return {
            name for name in {**before, **after} if before.get(name) != after.get(name)
        }
