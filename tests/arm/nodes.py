"""The Node that a pool brings, with the labels that AKS gives it."""

import zlib
from collections.abc import Mapping
from typing import Any

from tests.arm.cluster import Cluster, Pool


def node_name(cluster: Cluster, pool: Pool) -> str:
    if cluster.kind == "arc":
        return f"moc-{pool.name}"
    return f"{_scale_set(cluster, pool)}000000"


def node(
    cluster: Cluster,
    pool: Pool,
    *,
    ready: bool = True,
    allocatable: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the Node object of a pool's one machine."""
    name = node_name(cluster, pool)
    properties = pool.properties
    labels = {
        **pool.labels,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": properties["vmSize"],
    }
    if cluster.kind == "aks":
        zones = properties.get("availabilityZones")
        labels |= {
            "agentpool": pool.name,
            "kubernetes.azure.com/agentpool": pool.name,
            "kubernetes.azure.com/cluster": node_resource_group(cluster),
            "topology.kubernetes.io/region": cluster.location,
            "topology.kubernetes.io/zone": (
                f"{cluster.location}-{zones[0]}" if zones else "0"
            ),
        }
        if properties["vmSize"].startswith("Standard_N"):
            labels["accelerator"] = "nvidia"
    status = "True" if ready else "False"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "providerID": provider_id(cluster, pool),
            "taints": [_taint(text) for text in properties.get("nodeTaints") or ()],
        },
        "status": {
            "conditions": [{"type": "Ready", "status": status}],
            "allocatable": {"cpu": "24", "memory": "220Gi", **(allocatable or {})},
        },
    }


def node_resource_group(cluster: Cluster) -> str:
    group = cluster.id.split("/")[4]
    return f"MC_{group}_{cluster.name}_{cluster.location}"


def provider_id(cluster: Cluster, pool: Pool) -> str:
    if cluster.kind == "arc":
        return f"moc://{node_name(cluster, pool)}"
    subscription = cluster.id.split("/")[2]
    group = node_resource_group(cluster).lower()
    return (
        f"azure:///subscriptions/{subscription}/resourceGroups/{group}"
        "/providers/Microsoft.Compute/virtualMachineScaleSets/"
        f"{_scale_set(cluster, pool)}/virtualMachines/0"
    )


def _scale_set(cluster: Cluster, pool: Pool) -> str:
    number = zlib.crc32(cluster.id.encode()) % 10**8
    return f"aks-{pool.name}-{number:08}-vmss"


def _taint(text: str) -> dict[str, str]:
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "effect": effect} | ({"value": value} if value else {})
