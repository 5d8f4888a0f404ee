"""What is asked of Karpenter, held against golden files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pykaito.provisioners.errors import NotConfiguredError
from pykaito.provisioners.karpenter.manifests import node_claim, node_pool
from pykaito.provisioners.karpenter.settings import Settings, read_settings
from tests.unit.provisioners.karpenter.machines import machine

GOLDEN = Path(__file__).parent / "golden"

AWS = read_settings({"KARPENTER_NODE_CLASS_GROUP": "karpenter.k8s.aws"})
KWOK = Settings(group="karpenter.kwok.sh", kind="KWOKNodeClass")
#: Everything that a Machine can ask for.
FULL = {
    "labels": {"apps": "phi", "topology.kubernetes.io/zone": "westus-2"},
    "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
    "storage": "120Gi",
    "capacityType": "spot",
    "zones": ["westus-1", "westus-2"],
    "imageFamily": "azurelinux",
    "nodeClass": "gpus",
}
CASES: dict[str, Any] = {
    "claim-azure": node_claim(machine(**FULL), Settings()),
    "claim-aws": node_claim(machine(instanceType="g6.xlarge"), AWS),
    "claim-kwok": node_claim(machine(), KWOK),
    "pool-azure": node_pool(machine(**FULL), Settings()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_object_is_as_in_the_golden_file(name: str) -> None:
    golden = GOLDEN / f"{name}.yaml"
    assert CASES[name] == yaml.safe_load(golden.read_text()), (
        "if the change is meant, write it: python -m tests.unit.provisioners."
        "karpenter.test_karpenter_manifests"
    )


def requirement(key: str, **spec: Any) -> Any:
    asked = node_claim(machine(**spec), Settings())["spec"]["requirements"]
    return next((r["values"] for r in asked if r["key"] == key), None)


def test_an_instance_type_is_asked_for_as_its_cloud_writes_it() -> None:
    asked = requirement(
        "node.kubernetes.io/instance-type",
        instanceType="standard_nc24ads_a100_V4",
        labels={"node.kubernetes.io/instance-type": "STANDARD_NC24ads_A100_v4"},
    )
    assert asked == ["Standard_NC24ads_A100_v4"]


def test_a_zone_that_is_asked_for_as_a_label_is_the_only_one() -> None:
    zone = "topology.kubernetes.io/zone"
    assert requirement(zone) is None
    assert requirement(zone, zones=["a", "b"]) == ["a", "b"]
    assert requirement(zone, labels={zone: "b"}) == ["b"]
    assert requirement(zone, labels={zone: "b"}, zones=["a", "b"]) == ["b"]


def test_labels_that_say_what_node_it_is_do_not_go_before_what_the_cloud_says() -> None:
    said = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "karpenter.sh/capacity-type": "on-demand",
    }
    made = node_claim(machine(labels=said | {"apps": "phi"}), Settings())
    assert not said.keys() & made["metadata"]["labels"].keys()
    assert made["metadata"]["labels"]["apps"] == "phi"
    assert requirement("kubernetes.io/arch", labels=said) == ["amd64"]
    assert requirement("kubernetes.io/arch") is None


def test_aws_is_asked_for_gpus_only_where_the_machine_needs_some() -> None:
    cpus = node_claim(machine(instanceType="m5.xlarge", resources={"cpu": "3"}), AWS)
    keys = [r["key"] for r in cpus["spec"]["requirements"]]
    assert "karpenter.k8s.aws/instance-gpu-count" not in keys


@pytest.mark.parametrize("environ", [{}, {"KARPENTER_NODE_CLASS_GROUP": ""}])
def test_unless_told_otherwise_nodes_are_made_on_azure(environ: dict[str, str]) -> None:
    assert read_settings(environ) == Settings(
        group="karpenter.azure.com", kind="AKSNodeClass", name="default"
    )


def test_the_kind_of_node_class_is_told_where_it_is_not_known() -> None:
    environ = {"KARPENTER_NODE_CLASS_GROUP": "karpenter.kwok.sh"}
    with pytest.raises(NotConfiguredError, match="KARPENTER_NODE_CLASS_KIND: missing"):
        node_claim(machine(), read_settings(environ))
    told = read_settings(environ | {"KARPENTER_NODE_CLASS_KIND": "KWOKNodeClass"})
    assert node_claim(machine(), told)["spec"]["nodeClassRef"] == {
        "group": "karpenter.kwok.sh",
        "kind": "KWOKNodeClass",
        "name": "default",
    }


if __name__ == "__main__":
    for case, rendered in CASES.items():
        text = yaml.safe_dump(rendered, sort_keys=False)
        (GOLDEN / f"{case}.yaml").write_text(text)
