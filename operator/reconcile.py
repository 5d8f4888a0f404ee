"""The contract between the machinery and a reconciler.

A reconciler is told which object to look at, never what happened to it: it
reads the current state, compares it with what is wanted and does what is
missing. So calling it once too often is harmless, and one call stands for any
number of events. The same request never runs twice at once.
"""

import math
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One object to reconcile.

    Attributes:
        controller: the name of the reconciler that is meant.
        namespace: the object's namespace; empty for a cluster-scoped object.
        name: the object's name.
    """

    controller: str
    namespace: str
    name: str

    def __str__(self) -> str:
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.controller} {path}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconcile that did not fail asks for.

    Attributes:
        requeue_after: reconcile again after that many seconds even if nothing
            changes; None to wait for the next event. Not a way to retry after
            a failure: raise, and the queue backs off.
    """

    requeue_after: float | None = None

    def __post_init__(self) -> None:
        after = self.requeue_after
        if after is not None and not (after > 0 and math.isfinite(after)):
            raise ValueError(
                f"requeue_after must be a finite number of seconds above 0, got {after}"
            )


class Reconciler(Protocol):
    """Moves one kind of object towards the state its spec asks for."""

    @property
    def name(self) -> str:
        """The controller's name in requests, logs and metrics."""

    async def reconcile(self, request: Request) -> Result | None:
        """Bring the named object closer to its spec.

        The object may be gone by now: read it and return if it is.
        Cancelled when it outlasts the manager's reconcile timeout or the
        lease is lost; whatever it does must be safe to repeat.

        Returns:
            None when the object needs nothing more until it changes.

        Raises:
            TerminalError: trying again is pointless until the object changes.
            Exception: anything else is a failure, retried with backoff.
        """
