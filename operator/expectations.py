"""Reading your own writes from a cache that is a moment behind.

A reconciler that runs again before the cache shows what it wrote would decide on
a past state: create a second child, or undo what it just did. So the writes of a
parent are noted, and the parent is pending until the cache has caught up.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, final

from pykaito.operator.clock import Clock
from pykaito.operator.objects import Object, resource_version

ParentT = TypeVar("ParentT", bound=Hashable)

HOLD_SECONDS = 30.0
"""A parent waits no longer than this for its last write. By then the watch is
broken, and a reconcile on old state is better than none."""


class Follower(Protocol):
    """The part of an informer that is needed to know how far it has come."""

    @property
    def resource_version(self) -> str:
        """The version up to which every change is in the store; empty at first."""


@dataclass(slots=True)
class _Written:
    deadline: float
    versions: dict[Follower, str] = field(default_factory=dict)


@final
class WrittenVersions(Generic[ParentT]):
    """What has been written for each parent and may not be in the cache yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # In the order of their deadlines, since all are equally far ahead.
        self._parents: dict[ParentT, _Written] = {}

    def note(self, parent: ParentT, informer: Follower, written: Object) -> None:
        """Remember a write for `parent`.

        Args:
            parent: whatever `pending` will be asked about.
            informer: the one whose store `written` will come to. Its selection
                need not contain the object.
            written: what the API server answered to the write.
        """
        now = self._clock.monotonic()
        self._forget_expired(now)
        entry = self._parents.pop(parent, None) or _Written(deadline=now)
        entry.deadline = now + HOLD_SECONDS
        version, noted = resource_version(written), entry.versions.get(informer)
        # A write that changed nothing answers with an earlier version.
        if noted is None or not _reached(noted, version):
            entry.versions[informer] = version
        self._parents[parent] = entry

    def pending(self, parent: ParentT) -> bool:
        """Return whether the cache still lacks something written for `parent`."""
        entry = self._parents.get(parent)
        if entry is None:
            return False
        caught_up = all(
            _reached(informer.resource_version, version)
            for informer, version in entry.versions.items()
        )
        if caught_up or self._clock.monotonic() >= entry.deadline:
            del self._parents[parent]
            return False
        return True

    def _forget_expired(self, now: float) -> None:
        """Drop what nobody asked about, so that it does not pile up."""
        while self._parents:
            parent, oldest = next(iter(self._parents.items()))
            if oldest.deadline > now:
                return
            del self._parents[parent]


def _reached(seen: str, wanted: str) -> bool:
    """Return whether version `seen` is `wanted` or later.

    Versions of one resource are ordered numbers. One that is none cannot be
    compared; waiting for it would be waiting for the deadline.
    """
    if not wanted.isdecimal():
        return True
    return seen.isdecimal() and int(seen) >= int(wanted)
