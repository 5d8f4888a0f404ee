"""Which pools nobody wants any more: a pure function of what was seen of them.

A pool whose Machine went without its finalizer costs money until somebody notices. It
is deleted only if it is provably this operator's, its Machine was looked for and not
found on two sweeps, and it is older than a launch in progress could be.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pykaito.operator.objects import Key
from pykaito.provisioners.azure_arm.pool import Pool, owner

MINIMUM_AGE = timedelta(minutes=10)
SWEEP_SECONDS = 120.0


def unclaimed(
    pools: Iterable[Pool], cluster: str, wanted: Iterable[Key]
) -> Mapping[str, Key]:
    """Return the pools that are ours and whose Machine is not known, with it.

    A pool at which the service is at work is left to it, and one that is stopped waits
    for whoever stopped it.

    Args:
        pools: all pools of the cluster.
        cluster: what tells this Kubernetes cluster from all others.
        wanted: the Machines there are.
    """
    there = set(wanted)
    owners = {
        pool.name: owner(pool, cluster)
        for pool in pools
        if not pool.busy and not pool.stopped
    }
    return {
        name: machine
        for name, machine in owners.items()
        if machine is not None and machine not in there
    }


def is_old(pool: Pool, now: datetime) -> bool:
    """Whether a pool is old enough to be an orphan; one of no known age is not."""
    created = pool.created_at
    return created is not None and now - created >= MINIMUM_AGE
