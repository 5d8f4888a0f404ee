"""Which labels a node that is made can be given.

Some labels say what kind of node it is: they follow from what was asked for, and
whoever makes the node sets them. Others lie in a domain of which somebody else has the
say. All the rest is the user's.
"""

from collections.abc import Collection, Iterator, Mapping

from pykaito.api.labels import INSTANCE_TYPE
from pykaito.api.v1alpha1.machine import Machine
from pykaito.provisioners.errors import InvalidRequestError

OS = "kubernetes.io/os"
ARCH = "kubernetes.io/arch"
ZONE = "topology.kubernetes.io/zone"

#: Who has the say over the labels of a domain and of its subdomains, on every cloud.
KUBERNETES: Mapping[str, str] = {"kubernetes.io": "Kubernetes", "k8s.io": "Kubernetes"}


def traits(machine: Machine) -> dict[str, tuple[str, ...]]:
    """Return the labels that follow from a Machine, and the values that they can have.

    No value means that any is possible.
    """
    return {
        INSTANCE_TYPE: (machine.spec.instance_type or "",),
        OS: ("linux",),
        ARCH: ("amd64", "arm64"),
        ZONE: machine.spec.zones,
    }


def check_labels(
    machine: Machine,
    following: Mapping[str, Collection[str]],
    reserved: Mapping[str, str],
    free: Collection[str] = (),
) -> None:
    """Hold the labels that a Machine asks for against what a node can be given.

    Args:
        machine: its ``spec.labels``.
        following: labels that follow from the Machine, see `traits`.
        reserved: domains, and who has the say over each and its subdomains.
        free: domains below those that are everyone's.

    Raises:
        InvalidRequestError: a label cannot be had, or not with that value.
    """
    for label, value in sorted(machine.spec.labels.items()):
        if label in following:
            _check_value(label, value, following[label])
        elif (who := _reserved_by(label, reserved, free)) is not None:
            raise InvalidRequestError(
                "spec.labels",
                f"found {label!r}, which only {who} may set; use a key of a domain of "
                "your own",
            )


def _check_value(label: str, value: str, possible: Collection[str]) -> None:
    # Instance types are written in any case.
    if possible and value.casefold() not in {p.casefold() for p in possible}:
        raise InvalidRequestError(
            "spec.labels",
            f"found {label}={value}, and the node will have "
            f"{' or '.join(possible) or 'none'} there; leave the label out, or ask "
            "for such a node",
        )


def _reserved_by(
    label: str, reserved: Mapping[str, str], free: Collection[str]
) -> str | None:
    domain, slash, _ = label.partition("/")
    if not slash:
        return None
    # From the domain itself upwards: the nearest that is named decides.
    for parent in _upwards(domain):
        if parent in free:
            return None
        if parent in reserved:
            return reserved[parent]
    return None


def _upwards(domain: str) -> Iterator[str]:
    """Yield a domain, the one that it is in, and so on."""
    while domain:
        yield domain
        domain = domain.partition(".")[2]
