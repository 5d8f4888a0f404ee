"""An agent pool as Azure tells of it, and whose it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pykaito.api import labels
from pykaito.operator.objects import Key
from pykaito.provisioners.azure_arm.failures import CloudError
from pykaito.provisioners.naming import instance_name

CLUSTER_TAG = "kaito-cluster"
NAMESPACE_TAG = "kaito-machine-namespace"
MACHINE_TAG = "kaito-machine"

CREATED_FORMAT = "%Y-%m-%dT%H-%M-%SZ"
"""Of the label kaito.sh/creation-timestamp: a label's value has no colons."""

DELETING = "Deleting"
_SETTLED = frozenset({"Succeeded", "Failed", "Canceled"})


@dataclass(frozen=True, slots=True)
class Pool:
    """What is known of a pool.

    Attributes:
        name: unique in its cluster.
        state: the service's provisioningState.
        size: the VM size of its node.
        etag: of this state, for a change that must not meet another; maybe empty.
        stopped: whether it was stopped, by itself or with its cluster.
        error: why it failed, in the service's words.
    """

    name: str
    state: str
    size: str = ""
    etag: str = ""
    stopped: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    error: CloudError | None = None

    @property
    def busy(self) -> bool:
        """Whether the service is at work on it."""
        return self.state not in _SETTLED

    @property
    def deleting(self) -> bool:
        """Whether it is on its way out."""
        return self.state == DELETING

    @property
    def failed(self) -> bool:
        """Whether what was last done to it did not succeed."""
        return self.state in _SETTLED and self.state != "Succeeded"

    @property
    def created_at(self) -> datetime | None:
        """When it was asked for; None if its label does not say."""
        written = self.labels.get(labels.CREATION_TIMESTAMP, "")
        try:
            return datetime.strptime(written, CREATED_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            return None


def ownership(cluster: str, machine: Key) -> dict[str, str]:
    """Return the tags of a Machine's pool.

    Args:
        cluster: what tells this Kubernetes cluster from all others.
        machine: the Machine.
    """
    return {
        CLUSTER_TAG: cluster,
        NAMESPACE_TAG: machine.namespace,
        MACHINE_TAG: machine.name,
    }


def owner(pool: Pool, cluster: str) -> Key | None:
    """Return the Machine that a pool was made for; None for what is not ours.

    The tags have to name this cluster and a Machine, and the pool's name and its label
    have to follow from that Machine's name: whoever copies tags to a pool of their own
    does not lose it.
    """
    named = Key(pool.tags.get(NAMESPACE_TAG, ""), pool.tags.get(MACHINE_TAG, ""))
    ours = pool.tags.get(CLUSTER_TAG) == cluster and all(named)
    follows = pool.name == pool.labels.get(labels.MACHINE) == instance_name(named)
    return named if ours and follows else None
