"""Binding pods to the nodes that a Workspace holds.

Nodes keep the labels they came with, so pods are bound by the nodes' names. A list
of names is part of the pod template: another node makes new pods of all replicas,
one after another, each once the one before serves. Kubernetes knows no way to hand
a Deployment's single pods to single nodes but labels on the nodes, or pods that
stay unscheduled until the operator looks at them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.gpu import GPU_RESOURCE, is_accelerator

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NAME_FIELD = "metadata.name"

#: What AKS taints nodes with that it may take away at any time.
AKS_SPOT = {
    "key": "kubernetes.azure.com/scalesetpriority",
    "value": "spot",
    "effect": "NoSchedule",
}


def affinity(nodes: Sequence[str]) -> dict[str, Any]:
    """Return the affinity of pods that may run on these nodes alone."""
    terms = [{"matchFields": [_named(node)]} for node in sorted(nodes)]
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}


def narrowed(written: Mapping[str, Any], nodes: Sequence[str]) -> dict[str, Any]:
    """Return an affinity as its user wrote it, for these nodes alone.

    A node has to match one of the terms; so each of the user's is combined with
    each node. A term without requirements matches nothing and is left out, unless
    there are no others: then no node matches, which is what was asked for.
    """
    node_affinity = written.get("nodeAffinity") or {}
    terms = (node_affinity.get(REQUIRED) or {}).get("nodeSelectorTerms") or ()
    if not terms:
        combined = affinity(nodes)["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    else:
        combined = [
            {**term, "matchFields": [*(term.get("matchFields") or ()), _named(node)]}
            for term in terms
            if term.get("matchExpressions") or term.get("matchFields")
            for node in sorted(nodes)
        ] or list(terms)
    return {
        **written,
        "nodeAffinity": {**node_affinity, REQUIRED: {"nodeSelectorTerms": combined}},
    }


def bound_nodes(deployed: Mapping[str, Any]) -> list[str]:
    """Return the nodes that a Deployment's pods may run on, as it was applied.

    None when someone wrote an affinity of another form in its place.
    """
    pod = deployed["spec"]["template"]["spec"]
    node_affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (node_affinity.get(REQUIRED) or {}).get("nodeSelectorTerms") or ()
    return sorted({node for term in terms for node in _last_named(term)})


def _last_named(term: Mapping[str, Any]) -> Iterable[str]:
    """Return the name that a term ends with; those before are the user's own."""
    fields = term.get("matchFields") or ()
    return fields[-1].get("values") or () if fields else ()


def _named(node: str) -> dict[str, Any]:
    return {"key": NAME_FIELD, "operator": "In", "values": [node]}


def tolerations(resources: Iterable[str]) -> list[dict[str, Any]]:
    """Return what pods bear that take these resources of a node.

    Nodes with devices are commonly tainted with the name of the resource, such as
    nvidia.com/gpu or nvidia.com/mig-1g.10gb, and nodes made for Workspaces with
    sku=gpu. A node that is cut into slices may keep the taint of whole GPUs.
    """
    devices = {GPU_RESOURCE, *filter(is_accelerator, resources)}
    return [
        *(
            {"key": device, "operator": "Exists", "effect": "NoSchedule"}
            for device in sorted(devices)
        ),
        {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
    ]


def spot_tolerations(workspace: Workspace) -> list[dict[str, Any]]:
    """Return what pods bear of a Workspace that asks for spot nodes."""
    asked = workspace.metadata.annotations.get(labels.CAPACITY_TYPE)
    return [dict(AKS_SPOT)] if asked == "spot" else []
