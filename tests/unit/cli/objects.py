"""A Workspace and its children, as the API server returns them, in a test."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pykaito.commands.snapshot import Snapshot

START = datetime(2026, 3, 4, 10, 0, 0, tzinfo=UTC)
NOW = START + timedelta(minutes=5)
NAME = "ws"
WORKSPACE_LABEL = {"kaito.sh/workspace": NAME}


def at(seconds: float) -> str:
    """Return the timestamp of a moment after the Workspace was made."""
    return f"{START + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def condition(
    kind: str, status: str, reason: str = "", message: str = "", *, since: float = 0
) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason or "Because",
        "message": message,
        "lastTransitionTime": at(since),
    }


def meta(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "team",
        "creationTimestamp": at(0),
        "labels": WORKSPACE_LABEL,
        **more,
    }


def workspace(
    *conditions: dict[str, Any], state: str = "Pending", **metadata: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": meta(NAME, generation=2, **metadata),
        "resource": {
            "count": 1,
            "instanceType": "Standard_NC6",
            "labelSelector": {"matchLabels": {"apps": "phi"}},
        },
        "inference": {
            "preset": {
                "name": "phi-2",
                "presetOptions": {"image": "registry.example.com/phi:1"},
            }
        },
        "status": {
            "observedGeneration": 2,
            "state": state,
            "conditions": list(conditions),
        },
    }


def machine(*conditions: dict[str, Any], node: str = "gpu-0") -> dict[str, Any]:
    return {
        "metadata": meta("ws-1a2b3c4d"),
        "spec": {"provisioner": "preferred_nodes", "nodeName": node},
        "status": {"phase": "Ready", "conditions": list(conditions)},
    }


def made_machine(
    *conditions: dict[str, Any],
    slot: int = 0,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    """Return a Machine that has its node made by Karpenter."""
    return {
        "metadata": meta(f"ws-{slot}"),
        "spec": {
            "provisioner": "karpenter",
            "instanceType": "Standard_NC6",
            "capacityType": "on-demand",
            **(spec or {}),
        },
        "status": {"phase": "Pending", "conditions": list(conditions), **status},
    }


def node(*, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {
            "name": "gpu-0",
            "creationTimestamp": at(-7200),
            "labels": {"node.kubernetes.io/instance-type": "Standard_NC6"},
        },
        "status": {
            "conditions": [condition("Ready", ready)],
            "allocatable": {"nvidia.com/gpu": "1"},
        },
    }


def deployment(*conditions: dict[str, Any], available: int = 0) -> dict[str, Any]:
    return {
        "metadata": meta(NAME, generation=1),
        "spec": {"replicas": 1, "template": {}},
        "status": {
            "observedGeneration": 1,
            "updatedReplicas": 1,
            "availableReplicas": available,
            "conditions": list(conditions),
        },
    }


def service() -> dict[str, Any]:
    ports = [{"port": 80}, {"port": 29500}]
    return {
        "metadata": meta(NAME),
        "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.7", "ports": ports},
    }


def pod(
    *conditions: dict[str, Any],
    state: dict[str, Any] | None = None,
    weights: dict[str, Any] | None = None,
    phase: str = "Pending",
    **metadata: Any,
) -> dict[str, Any]:
    running = state is not None and "running" in state
    return {
        "metadata": meta("ws-pod", **{"creationTimestamp": at(2)} | metadata),
        "spec": {
            "nodeName": "gpu-0",
            "initContainers": [
                {"name": "weights", "image": "registry.example.com/phi:1"}
            ]
            if weights
            else [],
            "containers": [{"name": NAME}],
        },
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "initContainerStatuses": [{"name": "weights", "state": weights}]
            if weights
            else [],
            "containerStatuses": [
                {
                    "name": NAME,
                    "image": "registry.example.com/transformers:1",
                    "ready": running and any(c["type"] == "Ready" for c in conditions),
                    "restartCount": 0,
                    "state": state or {"waiting": {"reason": "PodInitializing"}},
                }
            ],
        },
    }


SCHEDULED = condition("PodScheduled", "True", since=3)
COPIED = {"terminated": {"exitCode": 0, "startedAt": at(23), "finishedAt": at(63)}}
RUNNING = {"running": {"startedAt": at(64)}}
NODES_READY = condition("ResourceReady", "True", since=2)


def ready() -> Snapshot:
    """Return a Workspace that serves, read in full."""
    serves = [
        NODES_READY,
        condition("InferenceReady", "True", since=183),
        condition("Ready", "True", "workspaceSucceeded", since=184),
    ]
    live = workspace(*serves, state="Ready")
    live["status"] |= {
        "targetNodeCount": 1,
        "workerNodes": ["gpu-0"],
        "url": "http://ws.team.svc",
    }
    return Snapshot(
        live,
        [machine(condition("Ready", "True"), condition("Launched", "True"))],
        [node()],
        [deployment(available=1)],
        [
            pod(
                SCHEDULED,
                condition("ContainersReady", "True", since=182),
                condition("Ready", "True", since=182),
                state=RUNNING,
                weights=COPIED,
                phase="Running",
            )
        ],
        [service()],
    )


def loading() -> Snapshot:
    """Return a Workspace whose server loads the model."""
    pending = "WorkspaceInferenceStatusPending"
    seen = ready()
    live = workspace(
        NODES_READY,
        condition("InferenceReady", "False", pending),
        condition("Ready", "False", pending),
        condition("Reconciling", "True", "Progressing"),
    )
    loads = pod(SCHEDULED, state=RUNNING, weights=COPIED, phase="Running")
    return Snapshot(
        live, seen.machines, seen.nodes, [deployment()], [loads], seen.services
    )
