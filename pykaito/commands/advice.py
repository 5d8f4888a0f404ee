"""The next command to run, for each reason that a link can fail for: pure."""

from collections.abc import Mapping
from typing import Any

from pykaito.api.conditions import InferenceReason, WithheldReason
from pykaito.api.labels import (
    CAPACITY_TYPE,
    INSTANCE_TYPE,
    KEEP_NODES,
    RUNTIME,
    ZONES,
)
from pykaito.api.v1alpha1.machine import CapacityType
from pykaito.operator.objects import Object, name, namespace
from pykaito.provisioners.errors import LaunchReason
from pykaito.provisioners.names import KARPENTER, KARPENTER_NODEPOOL
from pykaito.provisioners.protocol import MachineReason
from pykaito.runtime.presets import inference_config, tuning_config
from pykaito.runtime.presets.plan import PlanReason

#: The kubelet's log of a container that ended tells more than its state.
_LAST_LOG = frozenset(
    {
        InferenceReason.CONTAINER_CRASH_LOOP_BACK_OFF,
        InferenceReason.CONTAINER_OOM_KILLED,
    }
)
#: What only whoever runs the operator can mend: its log and its values tell more.
_OF_THE_OPERATOR = frozenset(
    {
        MachineReason.PROVISIONER_NOT_FOUND,
        LaunchReason.PROVISIONER_NOT_CONFIGURED,
        LaunchReason.PROVISIONER_NOT_INSTALLED,
        LaunchReason.PROVISIONER_UNREACHABLE,
        LaunchReason.CLOUD_UNAUTHORIZED,
        LaunchReason.TARGET_NOT_FOUND,
    }
)
OPERATOR_LOG = "kubectl logs -n pykaito-system deployment/pykaito --tail=50"

#: What Karpenter's provisioners make, for kubectl.
_KARPENTERS = {KARPENTER: "nodeclaim", KARPENTER_NODEPOOL: "nodepool"}

_OF_THE_NODE = frozenset(
    {InferenceReason.NODE_DISK_PRESSURE, InferenceReason.NODE_MEMORY_PRESSURE}
)


def advice_on_spec(workspace: Object, reason: str) -> str:
    """Return the command for a spec that nothing can serve."""
    where = _of(workspace)
    match reason:
        case PlanReason.PRESET_NOT_FOUND:
            return "pykaito models"
        case PlanReason.RUNTIME_NOT_SUPPORTED if RUNTIME in _annotations(workspace):
            return f"kubectl annotate workspace {where} {RUNTIME}-"
        case PlanReason.PRESET_PRIVATE:
            return "kubectl explain workspace.inference.preset.presetOptions"
        case PlanReason.CONFIG_NOT_FOUND:
            key = (
                inference_config.KEY if "inference" in workspace else tuning_config.KEY
            )
            return f"kubectl create configmap {_config(workspace)} --from-file={key}"
        case PlanReason.CONFIG_INVALID | PlanReason.CONFIG_KEY_MISSING:
            return f"kubectl edit configmap {_config(workspace)}"
    return f"kubectl describe workspace {where}"


def _annotations(workspace: Object) -> Mapping[str, str]:
    return workspace["metadata"].get("annotations") or {}


def _config(workspace: Object) -> str:
    """Return the ConfigMap of a Workspace's settings as kubectl's arguments."""
    spec = workspace.get("inference") or workspace.get("tuning") or {}
    named = spec.get("config") or "NAME"
    return f"{named} -n {namespace(workspace)}"


def advice_on_node(workspace: Object, reason: str, node: str) -> str:
    """Return the command for a node that is missing or does not qualify."""
    if reason == MachineReason.PROVISIONER_NOT_FOUND:
        return OPERATOR_LOG
    if node and reason != MachineReason.NODE_NOT_FOUND:
        return f"kubectl describe node {node}"
    labels = (workspace["resource"].get("labelSelector") or {}).get("matchLabels") or {}
    shown = [
        INSTANCE_TYPE,
        *sorted(label for label in labels if label != INSTANCE_TYPE),
    ]
    return f"kubectl get nodes -L {','.join(shown)}"


def advice_on_made(workspace: Object, machine: Object, reason: str) -> str:
    """Return the command for a node that is made and is not there.

    Args:
        workspace: whose annotations say which machines will do.
        machine: the Machine, launched or not.
        reason: why it is not ready.
    """
    if reason in _OF_THE_OPERATOR:
        return OPERATOR_LOG
    spec = machine["spec"]
    if reason == LaunchReason.INSUFFICIENT_CAPACITY:
        # The next try heeds either.
        annotate = f"kubectl annotate workspace {_of(workspace)}"
        if spec.get("zones"):
            return f"{annotate} {ZONES}-"
        if spec.get("capacityType") == CapacityType.SPOT:
            return f"{annotate} {CAPACITY_TYPE}-"
    instance = (machine.get("status") or {}).get("instance")
    if instance and (kind := _KARPENTERS.get(spec["provisioner"])):
        return f"kubectl describe {kind} {instance}"
    return f"kubectl get machine {_of(machine)} -o yaml"


def advice_on_limit(workspace: Object, reason: str) -> str:
    """Return the command for nodes that the operator does not make."""
    match reason:
        case WithheldReason.NODES_RELEASED:
            where = _of(workspace)
            return f"kubectl annotate workspace {where} {KEEP_NODES}=true --overwrite"
        case WithheldReason.MACHINE_LIMIT_REACHED:
            return "kubectl get machines -A"
    return f"kubectl describe workspace {_of(workspace)}"


def advice_on_pod(pod: Object, reason: str) -> str:
    """Return the command for a pod that does not serve."""
    where = _of(pod)
    node = pod.get("spec", {}).get("nodeName")
    if reason in _LAST_LOG:
        container = _first(pod, _ended)
        return f"kubectl logs {where} -c {container} --previous"
    if reason in _OF_THE_NODE and node:
        return f"kubectl describe node {node}"
    running = _first(pod, _runs)
    if reason == InferenceReason.PENDING and running:
        return f"kubectl logs {where} -c {running} --follow"
    return f"kubectl describe pod {where}"


def _of(obj: Object) -> str:
    """Return an object as kubectl's arguments."""
    return f"{name(obj)} -n {namespace(obj)}"


def _first(pod: Object, matches: Any) -> str:
    """Return the name of the first container that matches, init containers first."""
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            if matches(container):
                return str(container["name"])
    return ""


def _runs(container: Mapping[str, Any]) -> bool:
    return "running" in (container.get("state") or {})


def _ended(container: Mapping[str, Any]) -> bool:
    """Whether the container failed, now or the time before."""
    for state in ("state", "lastState"):
        ended = (container.get(state) or {}).get("terminated") or {}
        if ended and (ended.get("exitCode") != 0 or ended.get("reason") == "OOMKilled"):
            return True
    return False
