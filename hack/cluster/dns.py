"""Cluster DNS: CoreDNS as an ordinary Deployment behind the Service kube-dns."""

import string
from pathlib import Path
from typing import Any

import yaml

from hack.cluster.api import Api
from hack.cluster.topology import CPU_NODE, DNS_ADDRESS, DOMAIN

_PATHS = {
    "ServiceAccount": "/api/v1/namespaces/kube-system/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/kube-system/configmaps",
    "Service": "/api/v1/namespaces/kube-system/services",
    "Deployment": "/apis/apps/v1/namespaces/kube-system/deployments",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}


def ensure(api: Api, image: str) -> None:
    """Apply CoreDNS, to run from `image`."""
    for manifest in manifests(image):
        api.apply(
            f"{_PATHS[manifest['kind']]}/{manifest['metadata']['name']}", manifest
        )


def ready(api: Api) -> bool:
    """Whether a CoreDNS answers."""
    deployment = api.get(f"{_PATHS['Deployment']}/coredns") or {}
    return bool(deployment.get("status", {}).get("readyReplicas"))


def manifests(image: str) -> list[dict[str, Any]]:
    """The objects that make up cluster DNS."""
    template = string.Template(Path(__file__).with_name("coredns.yaml").read_text())
    text = template.substitute(
        image=image, address=DNS_ADDRESS, domain=DOMAIN, node=CPU_NODE.name
    )
    return list(yaml.safe_load_all(text))
