"""What is asked of Karpenter for a Machine: pure functions.

Both kinds say `expireAfter: Never`: without it, Karpenter deletes a node that is thirty
days old, whoever uses it and whatever forbids disruption. Neither sets a termination
grace period, after which it would remove pods that must not be disrupted.
"""

from typing import Any

from pykaito.api import labels
from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.objects import Object
from pykaito.provisioners.karpenter.objects import (
    CAPACITY_TYPE,
    DO_NOT_DISRUPT,
    NODE_CLAIMS,
    NODE_POOL,
    NODE_POOLS,
)
from pykaito.provisioners.karpenter.settings import Settings
from pykaito.provisioners.naming import instance_name, key_of, node_labels
from pykaito.provisioners.node_labels import ARCH, traits
from pykaito.provisioners.skus import skus

#: The NodePool that NodeClaims name which belong to none; it need not exist.
NO_POOL = "kaito"


def node_claim(machine: Machine, settings: Settings) -> Object:
    """Return the NodeClaim of a Machine.

    Raises:
        NotConfiguredError: the kind of node class is not known.
    """
    spec: dict[str, Any] = _template(machine, settings)
    spec["requirements"] = [_one_of(NODE_POOL, NO_POOL), *spec["requirements"]]
    if machine.spec.storage is not None:
        # Karpenter takes a machine for Initialized when each resource that was asked
        # for is allocatable, and no kubelet reports `storage`.
        requests = {"ephemeral-storage": str(machine.spec.storage)}
        spec["resources"] = {"requests": requests}
    return {
        "apiVersion": NODE_CLAIMS.api_version,
        "kind": NODE_CLAIMS.kind,
        "metadata": {
            "name": instance_name(key_of(machine)),
            "labels": {NODE_POOL: NO_POOL, **claim_labels(machine)},
            "annotations": {DO_NOT_DISRUPT: "true", **_annotations(machine)},
        },
        "spec": spec,
    }


def node_pool(machine: Machine, settings: Settings) -> Object:
    """Return the NodePool of a Machine: one node, whatever pods there are.

    Its NodeClaims may be disrupted, so that Karpenter replaces one that drifted. What
    `spec.storage` asks for is up to the node class: a NodePool cannot ask for it.

    Raises:
        NotConfiguredError: the kind of node class is not known.
    """
    own = _pool_labels(machine)
    return {
        "apiVersion": NODE_POOLS.api_version,
        "kind": NODE_POOLS.kind,
        "metadata": {
            "name": instance_name(key_of(machine)),
            "labels": {
                **own,
                labels.KARPENTER_MANAGED_BY: "kaito",
                labels.MACHINE: instance_name(key_of(machine)),
            },
            "annotations": {labels.MACHINE_NAME: str(key_of(machine))},
        },
        "spec": {
            "replicas": 1,
            "template": {
                "metadata": {
                    "labels": {**claim_labels(machine), **own},
                    "annotations": _annotations(machine),
                },
                "spec": _template(machine, settings),
            },
            "disruption": {
                "consolidateAfter": "0s",
                "budgets": [{"reasons": ["Drifted"], "nodes": "1"}],
            },
        },
    }


def asks_for_gpus(machine: Machine) -> bool:
    """Whether a Machine asks for GPUs, or for slices of them."""
    return any(
        r.startswith(("nvidia.com/", "amd.com/")) for r in machine.spec.resources
    )


def instance_type(machine: Machine) -> str:
    """Return the instance type as its cloud writes it, where it is known."""
    name = machine.spec.instance_type or ""
    sku = skus().get(name.lower())
    return sku.name if sku else name


def following(machine: Machine) -> dict[str, tuple[str, ...]]:
    """Return the labels that follow from a Machine, as `traits` does."""
    return {**traits(machine), CAPACITY_TYPE: (str(machine.spec.capacity_type),)}


def claim_labels(machine: Machine) -> dict[str, str]:
    """Return the labels of a NodeClaim, which Karpenter puts on the node as well.

    Those that say what kind of node it is are left out: they would win over what the
    cloud says of the node that it made, and are asked for as requirements.
    """
    said = following(machine)
    asked = {k: v for k, v in node_labels(machine).items() if k not in said}
    workspace = machine.metadata.labels.get(labels.WORKSPACE)
    if workspace is None:
        return asked
    return {
        **asked,
        labels.WORKSPACE: workspace,
        labels.WORKSPACE_NAMESPACE: machine.metadata.namespace,
    }


def _pool_labels(machine: Machine) -> dict[str, str]:
    workspace = machine.metadata.labels.get(labels.WORKSPACE)
    if workspace is None:
        return {}
    return {
        labels.KARPENTER_WORKSPACE_NAME: workspace,
        labels.KARPENTER_WORKSPACE_NAMESPACE: machine.metadata.namespace,
    }


def _annotations(machine: Machine) -> dict[str, str]:
    annotations = {labels.MACHINE_NAME: str(key_of(machine))}
    if machine.spec.image_family:
        annotations[labels.NODE_IMAGE_FAMILY] = machine.spec.image_family
    return annotations


def _template(machine: Machine, settings: Settings) -> dict[str, Any]:
    """Return what the specs of both kinds have in common."""
    template: dict[str, Any] = {
        "nodeClassRef": settings.node_class(machine.spec.node_class),
        "requirements": _requirements(machine, settings),
        "expireAfter": "Never",
    }
    if machine.spec.taints:
        template["taints"] = [
            taint.model_dump(mode="json", exclude_defaults=True)
            for taint in machine.spec.taints
        ]
    return template


def _requirements(machine: Machine, settings: Settings) -> list[dict[str, Any]]:
    wanted = following(machine) | {labels.INSTANCE_TYPE: (instance_type(machine),)}
    del wanted[ARCH]  # the instance type's, unless it is asked for
    for label in following(machine):
        if label in machine.spec.labels and label != labels.INSTANCE_TYPE:
            wanted[label] = (machine.spec.labels[label],)
    asked = [_one_of(label, *values) for label, values in wanted.items() if values]
    if settings.cloud == "azure":
        asked.append(_one_of("karpenter.azure.com/sku-name", instance_type(machine)))
    elif settings.cloud == "aws" and asks_for_gpus(machine):
        gpus = "karpenter.k8s.aws/instance-gpu-count"
        asked.append({"key": gpus, "operator": "Gt", "values": ["0"]})
    return asked


def _one_of(label: str, *values: str) -> dict[str, Any]:
    return {"key": label, "operator": "In", "values": list(values)}
