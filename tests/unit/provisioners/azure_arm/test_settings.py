"""What the environment says of the cluster."""

import pytest

from pykaito.provisioners.azure_arm.settings import kind_of, read_target
from pykaito.provisioners.errors import NotConfiguredError

AKS = {
    "ARM_SUBSCRIPTION_ID": "sub",
    "ARM_RESOURCE_GROUP": "models",
    "AZURE_CLUSTER_NAME": "prod",
}
ID = (
    "/subscriptions/sub/resourceGroups/models"
    "/providers/Microsoft.Kubernetes/connectedClusters/prod"
)


def test_an_aks_cluster_is_named_by_three_variables() -> None:
    target = read_target(AKS | {"AZURE_VNET_SUBNET_ID": "x", "AZURE_OS_SKU": "Ubuntu"})
    assert (target.kind, target.subscription, target.group, target.cluster) == (
        "aks",
        "sub",
        "models",
        "prod",
    )
    assert (target.subnet, target.os_sku) == ("x", "Ubuntu")
    assert target.endpoint == "https://management.azure.com"
    assert not target.credentials.federated


def test_an_arc_cluster_is_named_by_its_id() -> None:
    target = read_target({"AZURE_CONNECTED_CLUSTER_ID": ID})
    assert target.kind == "arc"
    assert target.connected_cluster == ID[1:]


def test_the_kind_decides_where_both_are_named() -> None:
    both = AKS | {"AZURE_CONNECTED_CLUSTER_ID": ID}
    assert kind_of(both) == "arc"
    assert kind_of(both | {"AZURE_CLUSTER_KIND": "aks"}) == "aks"


def test_a_workload_identity_is_a_tenant_a_client_and_a_file() -> None:
    identity = {
        "AZURE_TENANT_ID": "t",
        "AZURE_CLIENT_ID": "c",
        "AZURE_FEDERATED_TOKEN_FILE": "/f",
        "AZURE_AUTHORITY_HOST": "https://login.test",
    }
    target = read_target(AKS | identity)
    assert target.credentials.federated
    assert "/f" not in repr(target)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "set ARM_SUBSCRIPTION_ID, ARM_RESOURCE_GROUP, AZURE_CLUSTER_NAME"),
        ({"ARM_SUBSCRIPTION_ID": "s"}, "set ARM_RESOURCE_GROUP, AZURE_CLUSTER_NAME"),
        (AKS | {"AZURE_CLUSTER_KIND": "arc"}, "set AZURE_CONNECTED_CLUSTER_ID"),
        (AKS | {"AZURE_CLUSTER_KIND": "eks"}, "found 'eks'; must be aks or arc"),
        ({"AZURE_CONNECTED_CLUSTER_ID": "prod"}, "must be the resource ID"),
        (
            AKS | {"AZURE_RESOURCE_MANAGER_ENDPOINT": "http://x"},
            "must be a URL that begins with https://",
        ),
        (
            AKS | {"AZURE_TENANT_ID": "t", "AZURE_FEDERATED_TOKEN_FILE": "/f"},
            "set AZURE_CLIENT_ID",
        ),
    ],
)
def test_what_is_missing_or_makes_no_sense_is_named(
    environ: dict[str, str], said: str
) -> None:
    with pytest.raises(NotConfiguredError, match=said):
        read_target(environ)
