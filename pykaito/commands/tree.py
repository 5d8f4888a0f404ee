"""A Workspace and what belongs to it as rows of a tree: pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pykaito.api.labels import INSTANCE_TYPE
from pykaito.commands.readings import (
    Outcome,
    holds,
    is_leaving,
    model_of,
    outcome,
    status,
)
from pykaito.commands.snapshot import Snapshot
from pykaito.commands.times import age, parse_time
from pykaito.operator.objects import Object, labels, name
from pykaito.reconcilers.workspace.machines import is_made, node_of
from pykaito.runtime.presets.gpu import GPU_RESOURCE, is_accelerator


@dataclass(frozen=True, slots=True)
class Row:
    """One object. ``ok`` is None where neither good nor bad can be said."""

    name: str
    kind: str
    status: str
    age: str
    info: str
    ok: bool | None = None
    #: The lines that lead to it, such as ``│  └─ ``.
    guide: str = ""


@dataclass(frozen=True, slots=True)
class _Branch:
    row: Row
    children: Sequence["_Branch"] = field(default_factory=tuple)


def rows(seen: Snapshot, now: datetime) -> list[Row]:
    """Return the tree from the Workspace down, one row for each object."""
    nodes = {name(node): node for node in seen.nodes}
    pods = [_Branch(_pod(pod, now)) for pod in seen.pods]
    machines = [
        _Branch(_machine(machine, now), [_Branch(row)] if row else [])
        for machine in seen.machines
        for row in [_node(machine, nodes, seen.unread, now)]
    ]
    deployments = [
        _Branch(_deployment(deployment, now), pods if number == 0 else ())
        for number, deployment in enumerate(seen.deployments)
    ]
    services = [_Branch(_service(service, now)) for service in seen.services]
    orphans = [] if seen.deployments else pods
    top = _Branch(
        _workspace(seen.workspace, now),
        [*machines, *deployments, *orphans, *services],
    )
    return list(_flat(top, "", ""))


def _flat(branch: _Branch, guide: str, below: str) -> Iterator[Row]:
    row = branch.row
    yield Row(row.name, row.kind, row.status, row.age, row.info, row.ok, guide)
    for number, child in enumerate(branch.children, 1):
        last = number == len(branch.children)
        yield from _flat(
            child,
            below + ("└─ " if last else "├─ "),
            below + ("   " if last else "│  "),
        )


def _workspace(workspace: Object, now: datetime) -> Row:
    ok = {Outcome.READY: True, Outcome.FAILED: False}.get(outcome(workspace))
    state = status(workspace).get("state") or "Unknown"
    return _row(workspace, "Workspace", state, model_of(workspace), ok, now)


def _machine(machine: Object, now: datetime) -> Row:
    ready = holds(machine, "Ready")
    phase = status(machine).get("phase") or "Pending"
    return _row(machine, "Machine", phase, _brought(machine), ready, now)


def _brought(machine: Object) -> str:
    """Return who brings the node, of what is made also what and with what luck."""
    spec, found = machine["spec"], status(machine)
    if not is_made(machine):
        return str(spec["provisioner"])
    parts = [spec.get("instanceType"), spec["provisioner"], found.get("instance")]
    if failures := found.get("failures"):
        parts.append(f"failures:{failures}")
    return " ".join(filter(None, parts))


def _node(
    machine: Object,
    nodes: Mapping[str, Object],
    unread: Mapping[str, str],
    now: datetime,
) -> Row | None:
    wanted = node_of(machine)
    if not wanted:
        return None
    node = nodes.get(wanted)
    if node is None:
        if "nodes" in unread:
            return Row(wanted, "Node", "?", "", unread["nodes"])
        return Row(wanted, "Node", "NotFound", "", "", ok=False)
    ready = holds(node, "Ready")
    info = " ".join(filter(None, [labels(node).get(INSTANCE_TYPE), *_gpus(node)]))
    return _row(node, "Node", "Ready" if ready else "NotReady", info, ready, now)


def _gpus(node: Object) -> list[str]:
    """Return what the node offers to compute on, by the names of the resources."""
    allocatable = status(node).get("allocatable") or {}
    offered = {
        resource: found
        for resource, found in sorted(allocatable.items())
        if is_accelerator(resource) and found != "0"
    }
    return [f"{r}:{found}" for r, found in (offered or {GPU_RESOURCE: "0"}).items()]


def _deployment(deployment: Object, now: datetime) -> Row:
    wanted = deployment["spec"].get("replicas", 1)
    available = status(deployment).get("availableReplicas", 0)
    ready = available >= wanted
    info = f"available:{available}/{wanted}"
    text = "Available" if ready else "Progressing"
    return _row(deployment, "Deployment", text, info, ready or None, now)


def _pod(pod: Object, now: datetime) -> Row:
    containers = status(pod).get("containerStatuses") or ()
    restarts = sum(container.get("restartCount", 0) for container in containers)
    ready = sum(bool(container.get("ready")) for container in containers)
    wanted = len(pod.get("spec", {}).get("containers") or containers)
    info = f"ready:{ready}/{wanted} restarts:{restarts}"
    if node := pod.get("spec", {}).get("nodeName"):
        info += f" node:{node}"
    text, ok = _pod_status(pod)
    return _row(pod, "Pod", text, info, ok, now)


def _pod_status(pod: Object) -> tuple[str, bool | None]:
    """Return what kubectl shows as a pod's status, and whether that is good."""
    found = status(pod)
    if is_leaving(pod):
        return "Terminating", None
    for kind, prefix in (("initContainerStatuses", "Init:"), ("containerStatuses", "")):
        for container in found.get(kind) or ():
            text = _trouble(container)
            if text:
                return prefix + text, False
    phase = found.get("reason") or found.get("phase") or "Pending"
    if holds(pod, "Ready"):
        return phase, True
    return phase, False if phase in {"Failed", "Evicted"} else None


def _trouble(container: Mapping[str, Any]) -> str:
    """Return why a container waits or failed; the ordinary wait is no trouble."""
    state = container.get("state") or {}
    waiting = (state.get("waiting") or {}).get("reason", "")
    if waiting and waiting not in {"PodInitializing", "ContainerCreating"}:
        return str(waiting)
    ended = state.get("terminated") or {}
    return str(ended.get("reason") or "Error") if ended.get("exitCode") else ""


def _service(service: Object, now: datetime) -> Row:
    spec = service["spec"]
    ports = ",".join(str(port["port"]) for port in spec.get("ports") or ())
    addresses = status(service).get("loadBalancer", {}).get("ingress") or ()
    outside = [a.get("ip") or a.get("hostname", "") for a in addresses]
    where = " ".join(filter(None, [spec.get("clusterIP", ""), *outside]))
    return _row(
        service, "Service", spec.get("type", "ClusterIP"), f"{where} ports:{ports}",
        None, now,
    )  # fmt: skip


def _row(
    obj: Object, kind: str, text: str, info: str, ok: bool | None, now: datetime
) -> Row:
    created = parse_time(obj["metadata"].get("creationTimestamp"))
    shown = "Terminating" if is_leaving(obj) else text
    return Row(name(obj), kind, shown, age(created, now), info, ok)
