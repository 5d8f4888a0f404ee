"""Faults of the emulator: which request meets what.

A request is told by its verb (`put`, `get`, `delete`, `list`, `cluster`,
`operation`, `token`) and, where it has one, its pool.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.arm.refusals import (
    Refusal,
    allocation_failed,
    broken,
    in_progress,
    overconstrained,
    quota_exceeded,
    throttled,
)


@dataclass(frozen=True)
class Refuse:
    """The answer is an error; nothing takes effect."""

    refusal: Refusal


@dataclass(frozen=True)
class Cut:
    """The connection breaks, once the request has taken effect or before."""

    after: bool


@dataclass(frozen=True)
class Slow:
    """What the request sees or does is as of now; its answer comes later."""

    seconds: float


@dataclass(frozen=True)
class Ends:
    """How the operation that the request begins ends.

    Attributes:
        failure: it ends Failed by this error, else Succeeded.
        seconds: how long it takes; None for as long as such operations take.
        lost: its status cannot be asked for (404).
        vanishes: a failed create leaves no pool.
    """

    failure: Refusal | None = None
    seconds: float | None = None
    lost: bool = False
    vanishes: bool = False


Effect = Refuse | Cut | Slow | Ends


class Faults(Protocol):
    """Decides what a request meets."""

    def strike(self, verb: str, pool: str) -> Effect | None:
        """Return what the request meets, None for nothing unusual."""


@dataclass(frozen=True)
class Fault:
    """One line of a script: the n-th request of the kind meets the effect."""

    verb: str
    effect: Effect
    nth: int = 1
    times: int = 1
    pool: str = ""


class Script:
    """Strikes the requests that its lines name, and no other."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = list(faults)
        self._seen: Counter[int] = Counter()

    def add(self, verb: str, effect: Effect, *, times: int = 1, pool: str = "") -> None:
        """Let the next requests of the kind meet the effect."""
        self._faults.append(Fault(verb, effect, times=times, pool=pool))

    def strike(self, verb: str, pool: str) -> Effect | None:
        for line, fault in enumerate(self._faults):
            if fault.verb != verb or fault.pool not in {"", pool}:
                continue
            self._seen[line] += 1
            if fault.nth <= self._seen[line] < fault.nth + fault.times:
                return fault.effect
        return None


_TRANSIENT: tuple[Effect, ...] = (
    Refuse(throttled(2)),
    Refuse(throttled(0)),
    Refuse(broken(500)),
    Refuse(broken(503)),
    Cut(after=False),
    Cut(after=True),
    Slow(20),
    Slow(200),
)
_BY_VERB: dict[str, tuple[Effect, ...]] = {
    "put": (
        Refuse(in_progress("Creating")),
        Refuse(quota_exceeded()),
        Ends(allocation_failed()),
        Ends(overconstrained().within("ResourceOperationFailure")),
        Ends(quota_exceeded("QuotaExceeded"), vanishes=True),
        Ends(seconds=400),
        Ends(lost=True),
    ),
    "delete": (
        Refuse(in_progress("Creating")),
        Ends(broken()),
        Ends(seconds=300),
        Ends(lost=True),
    ),
}


class RandomFaults:
    """Strikes any request with a chance, by a seed.

    Args:
        seed: the same seed and the same requests meet the same.
        rate: the chance of each request, 0 to 1.
    """

    def __init__(self, seed: int, *, rate: float = 0.2) -> None:
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self.rate = rate

    def strike(self, verb: str, pool: str) -> Effect | None:
        del pool
        if self._random.random() >= self.rate:
            return None
        return self._random.choice(_TRANSIENT + _BY_VERB.get(verb, ()))
