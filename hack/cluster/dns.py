"""Cluster DNS: CoreDNS as an ordinary Deployment behind the Service kube-dns."""

import socket
import string
import struct
from pathlib import Path
from typing import Any

import yaml

from hack.cluster.api import Api
from hack.cluster.topology import CPU_NODE, DNS_ADDRESS, DOMAIN

_PORT = 53
_ANSWER_TIMEOUT = 0.5
_QUERY_ID = 1
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


def answers() -> bool:
    """Whether cluster DNS, asked as a pod would, knows the API server's Service."""
    question = query(f"kubernetes.default.svc.{DOMAIN}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(_ANSWER_TIMEOUT)
        try:
            client.sendto(question, (DNS_ADDRESS, _PORT))
            return has_answer(client.recv(512))
        except OSError:
            return False


def query(name: str) -> bytes:
    """A DNS question for a name's IPv4 address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack(">6H", _QUERY_ID, 0, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">2H", 1, 1)


def has_answer(response: bytes) -> bool:
    """Whether a DNS response is without error and holds an answer."""
    flags, _, answer_count = struct.unpack_from(">3H", response, offset=2)
    return bool(flags & 0xF == 0 and answer_count > 0)


def manifests(image: str) -> list[dict[str, Any]]:
    """The objects that make up cluster DNS."""
    template = string.Template(Path(__file__).with_name("coredns.yaml").read_text())
    text = template.substitute(
        image=image, address=DNS_ADDRESS, domain=DOMAIN, node=CPU_NODE.name
    )
    return list(yaml.safe_load_all(text))
