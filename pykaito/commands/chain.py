"""The chain Workspace, Machine, Node, Pod, server: its first link that fails: pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pykaito.api.conditions import (
    InferenceReason,
    MachineCondition,
    NodeReason,
    WithheldReason,
    WorkspaceCondition,
)
from pykaito.api.v1alpha1.machine import MachinePhase
from pykaito.commands.advice import (
    advice_on_limit,
    advice_on_made,
    advice_on_node,
    advice_on_pod,
    advice_on_spec,
)
from pykaito.commands.readings import (
    Outcome,
    condition,
    doing,
    holds,
    is_leaving,
    is_observed,
    outcome,
    status,
)
from pykaito.commands.snapshot import Snapshot
from pykaito.operator.objects import Object, name, namespace
from pykaito.provisioners.errors import LaunchReason
from pykaito.provisioners.protocol import MachineReason
from pykaito.reconcilers.inference.diagnosis import diagnose
from pykaito.reconcilers.inference.loading import sentence
from pykaito.reconcilers.workspace.machines import is_made, node_of
from pykaito.runtime.presets.plan import PlanReason

#: Why a node that is made is not there yet, where nothing has gone wrong.
_ON_ITS_WAY = frozenset(
    {
        LaunchReason.LAUNCHING,
        LaunchReason.CLOUD_THROTTLED,
        LaunchReason.OPERATION_IN_PROGRESS,
        MachineReason.NOT_REGISTERED,
    }
)

_COMMAND_IN_MESSAGE = re.compile(r"run: (.+?)(?: \(https?://|$)")


@dataclass(frozen=True, slots=True)
class Link:
    """The link that holds the Workspace up."""

    kind: str
    name: str
    reason: str
    message: str
    #: What to run next.
    command: str
    #: Whether waiting may be all that it takes.
    progressing: bool = False


def first_failing(seen: Snapshot) -> Link | None:
    """Return the first link that does not hold, None if the Workspace is ready."""
    if outcome(seen.workspace) is Outcome.READY:
        return None
    return next(_links(seen))


def _links(seen: Snapshot) -> Iterator[Link]:
    yield from _workspace(seen)
    yield from _machines(seen)
    yield from _deployment(seen)
    yield from _pods(seen)
    yield _rest(seen)


def _workspace(seen: Snapshot) -> Iterator[Link]:
    workspace = seen.workspace
    mine = name(workspace)
    if is_leaving(workspace):
        found = condition(workspace, WorkspaceCondition.WORKSPACE_DELETING)
        yield Link(
            "Workspace",
            mine,
            found.get("reason", "Deleting"),
            found.get("message", "it is being deleted"),
            f"kubectl get machines -n {namespace(workspace)}",
            progressing=True,
        )
    elif not is_observed(workspace):
        yield Link(
            "Workspace",
            mine,
            "NotObserved",
            "the operator has not looked at the Workspace as it is now; is it running?",
            "kubectl get pods -A -l app.kubernetes.io/name=pykaito",
            progressing=True,
        )
    elif (found := _stalled(workspace)).get("reason") in set(PlanReason):
        # Another reason is that of a link further on.
        yield Link(
            "Workspace",
            mine,
            found["reason"],
            found["message"],
            advice_on_spec(workspace, found["reason"]),
        )


def _stalled(workspace: Object) -> Mapping[str, Any]:
    return condition(workspace, WorkspaceCondition.STALLED)


def _machines(seen: Snapshot) -> Iterator[Link]:
    workspace = seen.workspace
    if holds(workspace, WorkspaceCondition.RESOURCE_READY):
        return
    found = condition(workspace, WorkspaceCondition.RESOURCE_READY)
    reason = found.get("reason", NodeReason.RESOURCE_NOT_READY)
    message = found.get("message", "the operator is choosing nodes")
    if reason in set(WithheldReason):
        command = advice_on_limit(workspace, reason)
        yield Link("Workspace", name(workspace), reason, message, command)
    unready = [
        _machine(workspace, machine, ready)
        for machine in seen.machines
        if (ready := condition(machine, MachineCondition.READY)).get("status")
        == "False"
    ]
    yield from sorted(unready, key=lambda link: link.progressing)
    yield Link(
        "Machine" if seen.machines else "Node",
        ", ".join(map(name, seen.machines)) or "(none)",
        reason,
        message,
        _command_in(message) or advice_on_node(workspace, reason, ""),
        progressing=reason == NodeReason.RESOURCE_NOT_READY,
    )


def _machine(workspace: Object, machine: Object, ready: Mapping[str, Any]) -> Link:
    """Return the link of a Machine that is not ready, or of its node."""
    reason, message, node = ready["reason"], ready["message"], node_of(machine)
    made = is_made(machine)
    # A prepared node is launched at once; one that is made can be looked at once it
    # has joined, and keeps its name in the status while it is away.
    there = MachineCondition.REGISTERED if made else MachineCondition.LAUNCHED
    is_node = bool(node) and holds(machine, there)
    if not made or is_node:
        command = advice_on_node(workspace, reason, node)
    else:
        command = advice_on_made(workspace, machine, reason)
    return Link(
        "Node" if is_node else "Machine",
        node if is_node else name(machine),
        reason,
        message,
        _command_in(message) or command,
        progressing=made and _is_on_its_way(machine, reason),
    )


def _is_on_its_way(machine: Object, reason: str) -> bool:
    """Whether waiting may be all that a node takes that is made."""
    found = status(machine)
    joins = found.get("phase") == MachinePhase.REGISTERED and not found.get("readyTime")
    return joins or reason in _ON_ITS_WAY


def _deployment(seen: Snapshot) -> Iterator[Link]:
    for deployment in seen.deployments:
        found = condition(deployment, "ReplicaFailure")
        if found.get("status") == "True" and not seen.pods:
            yield Link(
                "Deployment",
                name(deployment),
                found.get("reason", "ReplicaFailure"),
                found.get("message", ""),
                f"kubectl describe deployment {name(deployment)} "
                f"-n {namespace(seen.workspace)}",
            )


def _pods(seen: Snapshot) -> Iterator[Link]:
    staying = [pod for pod in seen.pods if not is_leaving(pod)]
    now = datetime.now(UTC)
    diagnosed = [
        (pod, diagnose([pod], seen.workspace, now))
        for pod in staying
        if not _serves(pod)
    ]
    for pod, found in sorted(diagnosed, key=lambda pair: pair[1].progressing):
        loading = found.progressing and _is_loading(pod)
        yield Link(
            "server" if loading else "Pod",
            name(pod),
            found.reason,
            _as_told(seen.workspace, pod, found.message),
            advice_on_pod(pod, found.reason),
            progressing=found.progressing,
        )


def _as_told(workspace: Object, pod: Object, message: str) -> str:
    """Return what the operator knows of a pod that loads, as only it asks pods."""
    if message != sentence(name(pod), None):
        return message
    told = doing(workspace, pod)
    return f"pod {name(pod)} is {told}" if told else message


def _rest(seen: Snapshot) -> Link:
    """Return what the Workspace itself says, where its children say nothing."""
    found: Mapping[str, Any] = {}
    for kind in (WorkspaceCondition.INFERENCE_READY, WorkspaceCondition.READY):
        found = condition(seen.workspace, kind)
        if found and found["status"] != "True":
            break
    reason = found.get("reason", InferenceReason.PENDING)
    return Link(
        "Pod" if seen.deployments else "Workspace",
        ", ".join(map(name, seen.pods)) or name(seen.workspace),
        reason,
        found.get("message", "the operator is at work"),
        f"kubectl describe workspace {name(seen.workspace)} "
        f"-n {namespace(seen.workspace)}",
        progressing=reason in {InferenceReason.PENDING, "Progressing"},
    )


def _serves(pod: Object) -> bool:
    return holds(pod, "Ready")


def _is_loading(pod: Object) -> bool:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("running" in (c.get("state") or {}) for c in containers)


def _command_in(message: str) -> str:
    """Return the command that a message names, empty if it names none."""
    found = _COMMAND_IN_MESSAGE.search(message)
    return found[1] if found else ""
