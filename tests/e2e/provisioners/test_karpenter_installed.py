"""Karpenter asked by the operator as it is installed, with the rights that it has."""

import uuid

import pytest

from tests.e2e.provisioners.makers import fake_nodes, workspace
from tests.e2e.workspaces import Applied, Kubectl

pytestmark = [
    pytest.mark.serial,
    pytest.mark.timeout(3600),
    pytest.mark.usefixtures("operator", "karpenter"),
]


@pytest.mark.parametrize("provisioner", ["karpenter", "karpenter_nodepool"])
def test_a_node_is_made_and_given_back(
    kubectl: Kubectl, namespace: str, provisioner: str
) -> None:
    selector = {"apps": f"installed-{uuid.uuid4().hex[:8]}"}
    obj = workspace(selector["apps"], provisioner, selector)
    applied = Applied(kubectl, namespace, obj)
    applied.wait("condition=Ready=True", 120)
    (node,) = fake_nodes(kubectl, selector)
    (machine,) = applied.get("machines")
    assert machine["status"]["nodeName"] == node["metadata"]["name"]
    applied.kubectl("delete", "workspace", applied.name, "--timeout=120s")
    assert fake_nodes(kubectl, selector) == []


def test_what_karpenter_says_of_a_failure_is_told_and_mended(
    kubectl: Kubectl, namespace: str
) -> None:
    """Its words are in an Event about a NodeClaim that is gone a second later."""
    selector = {"apps": f"classless-{uuid.uuid4().hex[:8]}"}
    obj = workspace(selector["apps"], "karpenter", selector)
    obj["metadata"]["annotations"]["kaito.sh/node-class-name"] = "absent"
    applied = Applied(kubectl, namespace, obj)
    told = applied.wait_reason("ResourceReady", "TargetNotFound")
    assert "absent" in told
    assert "TargetNotFound.md" in told
    applied.wait_reason("Stalled", "TargetNotFound")
    applied.wait_event("TargetNotFound", "absent")
    name = applied.name
    applied.kubectl("annotate", "workspace", name, "kaito.sh/node-class-name-")
    applied.wait("condition=Ready=True", 180)
    applied.kubectl("delete", "workspace", name, "--timeout=120s")
