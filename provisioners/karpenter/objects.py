"""Karpenter's kinds and labels, and what is read of its objects."""

from collections.abc import Mapping
from typing import Any

from pykaito.api import labels
from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.objects import Object, Resource
from pykaito.operator.objects import labels as labels_of
from pykaito.provisioners.naming import key_of

GROUP = "karpenter.sh"
NODE_CLAIMS = Resource(GROUP, "v1", "NodeClaim", "nodeclaims", namespaced=False)
NODE_POOLS = Resource(GROUP, "v1", "NodePool", "nodepools", namespaced=False)

NODE_POOL = "karpenter.sh/nodepool"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"


def instance_of(obj: Object) -> str:
    """Return the name of the instance that an object belongs to, empty for none."""
    return labels_of(obj).get(labels.MACHINE, "")


def is_of(machine: Machine, obj: Object) -> bool:
    """Whether an object was made for the Machine, and not another of its name."""
    return owner(obj) == str(key_of(machine))


def owner(obj: Object) -> str:
    """Return ``namespace/name`` of the Machine that an object was made for."""
    annotations = obj["metadata"].get("annotations") or {}
    return str(annotations.get(labels.MACHINE_NAME, ""))


def is_leaving(obj: Object) -> bool:
    """Whether an object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def condition(obj: Object, kind: str) -> Mapping[str, Any]:
    """Return a condition of an object, an empty one where it has none."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    none: Mapping[str, Any] = {}
    return next((c for c in conditions if c["type"] == kind), none)


def is_true(obj: Object, kind: str) -> bool:
    """Whether a condition holds."""
    return bool(condition(obj, kind).get("status") == "True")
