"""Machines and Karpenter's objects as tests need them."""

from typing import Any

from pykaito.api.parse import parse
from pykaito.api.v1alpha1.machine import Machine

#: The name of everything that is made for the Machine of these tests.
INSTANCE = "ws62682c72c"
CLAIM_NAME = f"NodeClaim {INSTANCE!r}"


def raw_machine(**spec: Any) -> dict[str, Any]:
    asked = {
        "provisioner": "karpenter",
        "instanceType": "Standard_NC24ads_A100_v4",
        "resources": {"nvidia.com/gpu": "1"},
    }
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Machine",
        "metadata": {
            "name": "phi-1a2b3c4d",
            "namespace": "team-a",
            "labels": {"kaito.sh/workspace": "phi"},
        },
        "spec": asked | spec,
    }


def machine(**spec: Any) -> Machine:
    return parse(Machine, raw_machine(**spec))


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Any:
    told = {"type": kind, "status": status, "reason": reason or kind}
    return told | {"message": message}


def conditions(**done: bool) -> list[Any]:
    """Return Karpenter's conditions: done, or awaiting reconciliation."""
    return [
        condition(kind, "True")
        if done.get(kind.lower())
        else condition(
            kind,
            "Unknown",
            "AwaitingReconciliation",
            "object is awaiting reconciliation",
        )
        for kind in ("Launched", "Registered", "Initialized")
    ]


def claim(
    conditions: Any = (), name: str = INSTANCE, *, leaving: bool = False, **status: Any
) -> dict[str, Any]:
    metadata = {
        "name": name,
        "uid": f"uid-of-{name}",
        "labels": {"kaito.sh/machine": INSTANCE},
        "annotations": {"kaito.sh/machine-name": "team-a/phi-1a2b3c4d"},
    }
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ref = {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": metadata,
        "spec": {"nodeClassRef": ref},
        "status": {"conditions": list(conditions), **status},
    }


def node(name: str = "gpu-0", *, ready: str = "True", gpus: str = "1") -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kaito.sh/machine": INSTANCE}},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {"nvidia.com/gpu": gpus},
        },
    }


def warning(claim: Any, reason: str, note: str, time: str = "12:00:00") -> Any:
    """Return an Event as Karpenter writes it, read as events.k8s.io/v1."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{reason}-{time}".lower(), "namespace": "default"},
        "type": "Warning",
        "reason": reason,
        "note": note,
        "deprecatedLastTimestamp": f"2026-01-01T{time}Z",
        "regarding": {
            "kind": "NodeClaim",
            "name": claim["metadata"]["name"],
            "uid": claim["metadata"]["uid"],
        },
    }
