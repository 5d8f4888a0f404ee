"""Pods as a kubelet of 1.34 with containerd reports them, with its own words."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pykaito.reconcilers.inference.diagnosis import Diagnosis, diagnose
from tests.unit.reconcilers.workspaces import raw_workspace

NAME = "workspace-falcon-7b"
POD = f"{NAME}-79d4c8bb4-x2x7q"
IMAGE = "registry.example.com:5000/models/falcon:1"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    """Return a timestamp as objects hold it."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str = "True", seconds: float = 30) -> dict[str, Any]:
    """Return a condition that has been so for that long."""
    return {"type": kind, "status": status, "lastTransitionTime": ago(seconds)}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    """Return a container that waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": NAME, "image": IMAGE, "state": state, **more}


def running(name: str = NAME, **more: Any) -> dict[str, Any]:
    """Return a container that runs."""
    return {"name": name, "image": IMAGE, "state": {"running": {}}, **more}


def ended(code: int, message: str = "", **more: Any) -> dict[str, Any]:
    """Return how a container ended that ran for a second."""
    times = {"startedAt": ago(10), "finishedAt": ago(9)}
    return {
        "terminated": {"exitCode": code, "message": message, "reason": "Error"}
        | times
        | more
    }


def crashed(last: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a container that waits for its next try."""
    message = f"back-off 20s restarting failed container={NAME}"
    return waiting("CrashLoopBackOff", message, lastState=last, restartCount=2, **more)


def pod(
    *containers: dict[str, Any],
    init: tuple[dict[str, Any], ...] = (),
    spec: Mapping[str, Any] | None = None,
    since: float = 30,
    **status: Any,
) -> dict[str, Any]:
    """Return a pod that got its node and its sandbox so many seconds ago.

    Containers that its spec does not tell of are as the kubelet names them.
    """
    specs = {
        kind: [{"name": c["name"], "image": c["image"]} for c in reported]
        for kind, reported in (("initContainers", init), ("containers", containers))
    }
    conditions = [
        condition("PodScheduled", seconds=since),
        condition("PodReadyToStartContainers", seconds=since),
    ]
    return {
        "metadata": {"name": POD, "namespace": "default"},
        "spec": {"nodeName": "gpu-0", **specs, **(spec or {})},
        "status": {
            "phase": "Pending",
            "podIP": "10.0.0.1",
            "conditions": conditions,
            "containerStatuses": list(containers),
            "initContainerStatuses": list(init),
            **status,
        },
    }


def template(**container: Any) -> dict[str, Any]:
    """Return a Workspace with a pod template of its own."""
    spec = {"containers": [{"name": NAME, "image": IMAGE, **container}]}
    return raw_workspace(inference={"template": {"spec": spec}})


def found(*pods: dict[str, Any], workspace: Any = None) -> Diagnosis:
    """Return what is diagnosed now."""
    return diagnose(pods, workspace or raw_workspace(), NOW)
