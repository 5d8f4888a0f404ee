"""What the environment says of the cluster, the credentials and all its pools."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pykaito.provisioners.errors import NotConfiguredError

Kind = Literal["aks", "arc"]

PUBLIC_ENDPOINT = "https://management.azure.com"

_CONNECTED = re.compile(
    "/?subscriptions/([^/]+)/resourceGroups/([^/]+)"
    "/providers/Microsoft.Kubernetes/connectedClusters/([^/]+)/?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the operator is to Azure.

    With a tenant and a token file it is a workload identity: the service account's
    token is exchanged. Without, it is the managed identity of the machine.
    """

    tenant_id: str = ""
    client_id: str = ""
    token_file: str = ""
    authority: str = ""

    @property
    def federated(self) -> bool:
        """Whether a service account's token is exchanged for Azure's."""
        return bool(self.tenant_id and self.token_file)


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster whose agent pools are made, and how all of them are made.

    Attributes:
        kind: aks, or arc for a cluster of Azure Local.
        subscription: the subscription's ID.
        group: the resource group's name.
        cluster: the cluster's name.
        endpoint: base URL of Azure Resource Manager.
        subnet: resource ID of the subnet of the nodes; the cluster's if empty.
        os_disk_type: Managed or Ephemeral; AKS chooses if empty.
        os_sku: the operating system of nodes whose Machine names none.
    """

    kind: Kind
    subscription: str
    group: str
    cluster: str
    credentials: Credentials = field(default_factory=Credentials, repr=False)
    endpoint: str = PUBLIC_ENDPOINT
    subnet: str = ""
    os_disk_type: str = ""
    os_sku: str = ""

    @property
    def connected_cluster(self) -> str:
        """The resource ID of the connected cluster of AKS Arc, without a slash."""
        return (
            f"subscriptions/{self.subscription}/resourceGroups/{self.group}"
            f"/providers/Microsoft.Kubernetes/connectedClusters/{self.cluster}"
        )

    @property
    def title(self) -> str:
        """The cluster, for people."""
        kind = "AKS cluster" if self.kind == "aks" else "AKS Arc cluster"
        return f"{kind} {self.cluster!r} in resource group {self.group!r}"


def kind_of(environ: Mapping[str, str]) -> Kind:
    """Return which kind of cluster is meant, whether or not the rest is there."""
    named = environ.get("AZURE_CLUSTER_KIND", "").lower()
    arc = named == "arc" or (not named and environ.get("AZURE_CONNECTED_CLUSTER_ID"))
    return "arc" if arc else "aks"


def read_target(environ: Mapping[str, str]) -> Target:
    """Return what the environment says.

    Raises:
        NotConfiguredError: names the variables that are missing, or make no sense.
    """
    named = environ.get("AZURE_CLUSTER_KIND", "aks").lower()
    if named not in {"aks", "arc"}:
        raise NotConfiguredError(
            f"AZURE_CLUSTER_KIND: found {named!r}; must be aks or arc"
        )
    kind = kind_of(environ)
    subscription, group, cluster = (
        _connected(environ) if kind == "arc" else _managed(environ)
    )
    return Target(
        kind=kind,
        subscription=subscription,
        group=group,
        cluster=cluster,
        credentials=_credentials(environ),
        endpoint=_endpoint(environ),
        subnet=environ.get("AZURE_VNET_SUBNET_ID", ""),
        os_disk_type=environ.get("AZURE_OS_DISK_TYPE", ""),
        os_sku=environ.get("AZURE_OS_SKU", ""),
    )


def _managed(environ: Mapping[str, str]) -> tuple[str, str, str]:
    needed = ("ARM_SUBSCRIPTION_ID", "ARM_RESOURCE_GROUP", "AZURE_CLUSTER_NAME")
    missing = [name for name in needed if not environ.get(name)]
    if missing:
        raise NotConfiguredError(
            f"the operator is not told of its AKS cluster; set {', '.join(missing)}"
        )
    subscription, group, cluster = (environ[name] for name in needed)
    return subscription, group, cluster


def _connected(environ: Mapping[str, str]) -> tuple[str, str, str]:
    name = "AZURE_CONNECTED_CLUSTER_ID"
    found = environ.get(name, "")
    if not found:
        raise NotConfiguredError(
            f"the operator is not told of its AKS Arc cluster; set {name}"
        )
    match = _CONNECTED.fullmatch(found)
    if match is None:
        raise NotConfiguredError(
            f"{name}: found {found!r}; must be the resource ID of a connected cluster, "
            "/subscriptions/.../resourceGroups/.../providers/Microsoft.Kubernetes"
            "/connectedClusters/..."
        )
    return match[1], match[2], match[3]


def _credentials(environ: Mapping[str, str]) -> Credentials:
    found = Credentials(
        tenant_id=environ.get("AZURE_TENANT_ID", ""),
        client_id=environ.get("AZURE_CLIENT_ID", ""),
        token_file=environ.get("AZURE_FEDERATED_TOKEN_FILE", ""),
        authority=environ.get("AZURE_AUTHORITY_HOST", ""),
    )
    if found.federated and not found.client_id:
        raise NotConfiguredError(
            "AZURE_FEDERATED_TOKEN_FILE is set, so the operator is a workload "
            "identity; set AZURE_CLIENT_ID to say which"
        )
    return found


def _endpoint(environ: Mapping[str, str]) -> str:
    name = "AZURE_RESOURCE_MANAGER_ENDPOINT"
    found = environ.get(name) or PUBLIC_ENDPOINT
    if not found.startswith("https://"):
        raise NotConfiguredError(
            f"{name}: found {found!r}; must be a URL that begins with https://"
        )
    return found.rstrip("/")
