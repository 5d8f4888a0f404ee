"""What is asked of Azure for a Machine."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pykaito.provisioners.azure_arm.request import body, check
from pykaito.provisioners.azure_arm.settings import Kind, Target
from pykaito.provisioners.errors import InvalidRequestError
from tests.arm.shapes import check_aks, check_arc
from tests.unit.provisioners.azure_arm.azure_world import POOL, SIZE, machine

TARGET = Target("aks", "sub", "models", "prod")
ARC = replace(TARGET, kind="arc")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TAGS = {
    "kaito-cluster": "here",
    "kaito-machine-namespace": "team-a",
    "kaito-machine": "phi-0",
}
LABELS = {
    "apps": "phi",
    "kaito.sh/workspace": "phi",
    "kaito.sh/machine": POOL,
    "kaito.sh/machine-type": "gpu",
    "kaito.sh/creation-timestamp": "2026-01-02T03-04-05Z",
}


def asked(target: Target = TARGET, **spec: Any) -> dict[str, Any]:
    made = body(machine(**spec), target, "here", NOW)
    (check_aks if target.kind == "aks" else check_arc)(POOL, made)
    return made


def test_a_pool_has_one_node_as_the_machine_asks_for_it() -> None:
    assert asked() == {
        "properties": {
            "count": 1,
            "vmSize": SIZE,
            "type": "VirtualMachineScaleSets",
            "mode": "User",
            "osType": "Linux",
            "osDiskSizeGB": 100,
            "nodeLabels": LABELS,
            "nodeTaints": ["sku=gpu:NoSchedule"],
            "tags": TAGS,
        }
    }


def test_on_azure_local_a_pool_has_what_that_knows() -> None:
    assert asked(ARC, instanceType="Standard_NC4_A2") == {
        "properties": {
            "count": 1,
            "vmSize": "Standard_NC4_A2",
            "osType": "Linux",
            "nodeLabels": LABELS,
            "nodeTaints": ["sku=gpu:NoSchedule"],
        },
        "tags": TAGS,
    }


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (
            {"capacityType": "spot"},
            {
                "scaleSetPriority": "Spot",
                "scaleSetEvictionPolicy": "Delete",
                "spotMaxPrice": -1.0,
            },
        ),
        ({"zones": ["1", "westeurope-3"]}, {"availabilityZones": ["1", "3"]}),
        ({"imageFamily": "azurelinux"}, {"osSKU": "AzureLinux"}),
        ({"imageFamily": "ubuntu"}, {"osSKU": "Ubuntu"}),
        ({"storage": "100.5Gi"}, {"osDiskSizeGB": 101}),
        ({"storage": "1Gi"}, {"osDiskSizeGB": 30}),
        (
            {"taints": [{"key": "a", "effect": "NoExecute"}]},
            {"nodeTaints": ["a:NoExecute"]},
        ),
    ],
)
def test_what_a_machine_adds_is_asked_for(
    spec: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert asked(**spec)["properties"] | fields == asked(**spec)["properties"]


def test_what_all_pools_have_is_asked_for() -> None:
    target = replace(
        TARGET,
        subnet="/subscriptions/x/subnets/y",
        os_disk_type="Managed",
        os_sku="Ubuntu",
    )
    properties = asked(target)["properties"]
    assert properties["vnetSubnetID"] == "/subscriptions/x/subnets/y"
    assert properties["osDiskType"] == "Managed"
    assert properties["osSKU"] == "Ubuntu"
    assert (
        asked(target, imageFamily="azurelinux")["properties"]["osSKU"] == "AzureLinux"
    )


def test_labels_that_azure_sets_itself_are_left_to_it() -> None:
    labels = {"node.kubernetes.io/instance-type": SIZE, "kubernetes.io/os": "linux"}
    found = asked(labels=labels)["properties"]["nodeLabels"]
    assert not any("kubernetes.io" in label for label in found)


def test_a_machine_without_gpus_is_told_from_one_with() -> None:
    labels = asked(instanceType="Standard_D8s_v5")["properties"]["nodeLabels"]
    assert labels["kaito.sh/machine-type"] == "cpu"


@pytest.mark.parametrize(
    ("kind", "spec", "field", "said"),
    [
        ("aks", {"instanceType": "g5.xlarge"}, "spec.instanceType", "which is of aws"),
        (
            "aks",
            {"instanceType": "NC24ads_A100_v4"},
            "spec.instanceType",
            f"mean {SIZE}",
        ),
        ("aks", {"instanceType": "Standard_NC4_A2"}, "spec.instanceType", "is of arc"),
        ("arc", {}, "spec.instanceType", "must be a VM size of Azure Local"),
        (
            "aks",
            {"instanceType": None, "nodeName": "a"},
            "spec.instanceType",
            "found none",
        ),
        ("aks", {"labels": {"agentpool": "x"}}, "spec.labels", "agentpool"),
        ("aks", {"labels": {"accelerator": "x"}}, "spec.labels", "accelerator"),
        ("aks", {"labels": {"kubernetes.azure.com/x": "y"}}, "spec.labels", "Azure"),
        (
            "aks",
            {"labels": {"node.kubernetes.io/instance-type": "Standard_NC6s_v3"}},
            "spec.labels",
            "Standard_NC6s_v3",
        ),
        ("aks", {"zones": ["westeurope-a"]}, "spec.zones", "such as 1 or"),
        ("aks", {"imageFamily": "flatcar"}, "spec.imageFamily", "azurelinux or ubuntu"),
        ("aks", {"storage": "3Ti"}, "spec.storage", "at most 2048"),
        (
            "arc",
            {"instanceType": "Standard_NC4_A2", "capacityType": "spot"},
            "spec.capacityType",
            "only on-demand",
        ),
        (
            "arc",
            {"instanceType": "Standard_NC4_A2", "zones": ["1"]},
            "spec.zones",
            "no zones",
        ),
        (
            "arc",
            {"instanceType": "Standard_NC4_A2", "imageFamily": "ubuntu"},
            "spec.imageFamily",
            "only azurelinux",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_by_its_field(
    kind: Kind, spec: dict[str, Any], field: str, said: str
) -> None:
    asking = machine(**spec)
    with pytest.raises(InvalidRequestError, match=said) as raised:
        check(asking, kind)
    assert raised.value.field == field
    with pytest.raises(InvalidRequestError):
        body(asking, replace(TARGET, kind=kind), "here", NOW)


def test_a_size_that_is_in_no_table_is_doubted_and_asked_for() -> None:
    asking = machine(instanceType="Standard_NC24ads_A100_v5")
    (doubt,) = check(asking, "aks")
    assert SIZE in doubt


def test_a_size_on_its_way_out_is_doubted() -> None:
    (doubt,) = check(machine(instanceType="Standard_NC6s_v3"), "aks")
    assert "retired" in doubt
