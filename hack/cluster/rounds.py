"""Up and down, again and again: the host must be afterwards as it was before."""

import time

from hack.cluster import cluster, snapshot
from hack.cluster.commands import ClusterError, wait_until
from hack.cluster.state import State

# The kernel takes namespaces apart in the background.
_SETTLE_TIMEOUT = 10.0


def run_rounds(state: State, count: int) -> None:
    """Take the cluster up and down `count` times, comparing the host each time.

    Raises:
        ClusterError: A cluster is up already, or a round left something; the
            message lists the difference.
    """
    if state.root.exists():
        raise ClusterError(
            f"{state.root} exists: rounds start without a cluster, run"
            " `make cluster-down` first"
        )
    before = snapshot.take(state)
    for number in range(1, count + 1):
        started = time.monotonic()
        cluster.up(state)
        ready = time.monotonic()
        cluster.down(state)
        ended = time.monotonic()
        wait_until(
            lambda: not snapshot.difference(before, snapshot.take(state)),
            timeout=_SETTLE_TIMEOUT,
            interval=0.5,
            otherwise=lambda: (
                "the host as it was before; different are:\n"
                + "\n".join(snapshot.difference(before, snapshot.take(state)))
            ),
        )
        print(
            f"round {number} of {count}: up {ready - started:.1f} s,"
            f" down {ended - ready:.1f} s, nothing left"
        )
