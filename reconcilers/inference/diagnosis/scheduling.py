"""Why a pod gets no node, and what to do about it: pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pykaito.api.conditions import InferenceReason
from pykaito.api.quantity import parse_quantity
from pykaito.reconcilers.inference.diagnosis.fields import claim_field
from pykaito.reconcilers.inference.diagnosis.pod_view import KINDS, PodView
from pykaito.reconcilers.inference.diagnosis.verdict import Diagnosis

_SHORT = re.compile(r"Insufficient ([\w./-]*\w)")
_TAINT = re.compile(r"untolerated taint ?\{([^:}]+)")
_MISSING_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_UNBOUND_CLAIM = re.compile(
    r"unbound immediate PersistentVolumeClaims|persistent volumes to bind|"
    r"bound to non-existent|binding volumes"
)
_VOLUME_ELSEWHERE = re.compile(
    r"PersistentVolume's node affinity|volume node affinity conflict|"
    r"available volume zone"
)
#: What the scheduler says of pods that it might push out; it tells users nothing.
_PREEMPTION = re.compile(r"[.,]? ?(no new claims to deallocate, )?preemption: .*")


def is_unschedulable(view: PodView) -> bool:
    """Whether the scheduler found no node."""
    return view.condition("PodScheduled").get("status") == "False"


def unschedulable(view: PodView) -> Diagnosis:
    """Return what is to be said of a pod that fits no node."""
    message = _PREEMPTION.sub("", view.condition("PodScheduled").get("message", ""))
    asked = "".join(
        f"; the pod asks for {amount} {resource}"
        for resource in sorted(set(_SHORT.findall(message)))
        if (amount := _requested(view.spec, resource))
    )
    return Diagnosis(
        InferenceReason.UNSCHEDULABLE,
        f"pod {view.name} fits no node: {message.rstrip('.')}{asked}. "
        f"{_remedy(view, message)}",
    )


def is_turned_away(view: PodView) -> bool:
    """Whether the kubelet refused a pod that the scheduler had sent."""
    reason = str(view.status.get("reason", ""))
    return view.status.get("phase") == "Failed" and (
        reason.startswith("OutOf")
        or reason in {"UnexpectedAdmissionError", "NodeAffinity"}
    )


def turned_away(view: PodView) -> Diagnosis:
    """Return what is to be said of a pod that the kubelet refused."""
    message = str(view.status.get("message") or view.status["reason"]).strip()
    return Diagnosis(
        InferenceReason.UNSCHEDULABLE,
        f"node {view.node} turned pod {view.name} away: {message.rstrip('.')}. "
        f"{_who_is_there(view.node)}",
    )


def _remedy(view: PodView, message: str) -> str:
    if found := _MISSING_CLAIM.search(message):
        field = claim_field(view, found[1])
        whose = f" ({field})" if field else ""
        return (
            f"Create PersistentVolumeClaim {found[1]}{whose} in namespace "
            f"{view.namespace}; those there are: {view.kubectl} get pvc"
        )
    if _UNBOUND_CLAIM.search(message):
        return (
            "A PersistentVolumeClaim of the pod has no volume yet; its Events say why: "
            f"{view.kubectl} describe pvc {' '.join(view.claims)}"
        )
    if _VOLUME_ELSEWHERE.search(message):
        return (
            "The volume of a PersistentVolumeClaim of the pod is not where the pod may "
            f"run, node {', '.join(_bound_nodes(view.spec)) or 'NODE'}: name a claim "
            "that is reached from there, or a node that reaches this one: "
            f"{view.kubectl} describe pvc {' '.join(view.claims)}"
        )
    if _SHORT.search(message):
        return _who_is_there(", ".join(_bound_nodes(view.spec)))
    if found := _TAINT.search(message):
        # Those are Kubernetes' own, and go with what they tell of.
        if found[1].startswith("node.kubernetes.io/"):
            nodes = _bound_nodes(view.spec) or ["NODE"]
            return f"Mend the node: kubectl describe node {' '.join(nodes)}"
        return f"Remove the taint: kubectl taint node NODE {found[1]}-"
    return (
        "The pod may run on these nodes alone: "
        f"{', '.join(_bound_nodes(view.spec)) or 'see its affinity'}"
    )


def _who_is_there(nodes: str) -> str:
    node = nodes if nodes and "," not in nodes else "NODE"
    return (
        f"Free it on node {nodes or 'NODE'}, or let the Workspace use another; who "
        "uses it: kubectl get pods -A -o wide --field-selector "
        f"spec.nodeName={node}"
    )


def _requested(spec: Mapping[str, Any], resource: str) -> str:
    """Return how much of a resource the pod's containers ask for, as it is written."""
    amounts = [
        quantity
        for kind in KINDS
        for container in spec.get(kind) or ()
        if (quantity := _of(container.get("resources") or {}, resource))
    ]
    return str(max(amounts, key=parse_quantity)) if amounts else ""


def _of(resources: Mapping[str, Any], resource: str) -> Any:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    return requests.get(resource) or limits.get(resource)


def _bound_nodes(spec: Mapping[str, Any]) -> list[str]:
    """Return the names of the nodes that the pod may run on."""
    return sorted(set(_named_nodes(spec)))


def _named_nodes(spec: Mapping[str, Any]) -> Iterator[str]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    wanted = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in wanted.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name":
                yield from field.get("values") or ()
