"""Objects that the tests of the reconcilers start from."""

from typing import Any

from pykaito.api.parse import parse
from pykaito.api.v1beta1.workspace import Workspace


def raw_workspace(**changes: Any) -> dict[str, Any]:
    """Return the seeds' falcon-7b Workspace, as the API server would store it."""
    obj: dict[str, Any] = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": "workspace-falcon-7b",
            "namespace": "default",
            "uid": "0b8e6a58-1111-2222-3333-444455556666",
            "generation": 1,
        },
        "resource": {
            "count": 1,
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": "falcon-7b"}},
        },
        "inference": {"preset": {"name": "falcon-7b"}},
    }
    obj["metadata"] |= changes.pop("metadata", {})
    obj["resource"] |= changes.pop("resource", {})
    return obj | changes


def workspace(**changes: Any) -> Workspace:
    """Return the same as a model."""
    return parse(Workspace, raw_workspace(**changes))


def node(
    name: str,
    *,
    labels: dict[str, str] | None = None,
    ready: bool = True,
    gpus: int | None = 1,
) -> dict[str, Any]:
    """Return a Node as a kubelet reports it."""
    allocatable = {"cpu": "8", "memory": "32Gi"}
    if gpus is not None:
        allocatable["nvidia.com/gpu"] = str(gpus)
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    if not ready:
        condition["message"] = "container runtime is down"
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "status": {"conditions": [condition], "allocatable": allocatable},
    }
