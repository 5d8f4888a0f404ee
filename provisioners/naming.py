"""How what is made for a Machine is named and marked, so that it is found again.

A name follows from the Machine's alone. So a launch that is repeated, by this process
or the next, asks for the same thing, and cannot make a second one.
"""

import hashlib
from collections.abc import Iterable

from pykaito.api import labels
from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.objects import Key, Object, key

#: Machines by the name of what is made for them.
INSTANCE_INDEX = "instance"

_DIGITS = 9


def instance_name(machine: Key) -> str:
    """Return the name of what is made for a Machine.

    It has eleven lower-case letters and digits and begins with a letter: agent pools
    of AKS may have twelve. 36 bits of a hash are left, so whoever finds something of
    that name looks whose it is before it is used.
    """
    digest = hashlib.sha256(f"{machine.namespace}/{machine.name}".encode())
    return f"ws{digest.hexdigest()[:_DIGITS]}"


def key_of(machine: Machine) -> Key:
    """Return what names a Machine."""
    return Key(machine.metadata.namespace, machine.metadata.name)


def by_instance(machine: Object) -> Iterable[str]:
    """Index Machines by the name of what is made for them."""
    return (instance_name(key(machine)),)


def node_labels(machine: Machine) -> dict[str, str]:
    """Return the labels of the node that is made for a Machine.

    Those asked for, whose it is, and which Machine's, by the name of the instance: the
    name of a Machine may be longer than the value of a label.
    """
    owned = {labels.MACHINE: instance_name(key_of(machine))}
    return {**machine.spec.labels, **owned}
