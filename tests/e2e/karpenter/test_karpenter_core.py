"""What Karpenter does with claims and pools, as far as a provisioner relies on it."""

import json
from collections.abc import Callable, Iterator

import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from hack.cluster import karpenter as beside
from hack.cluster.state import LOCAL
from tests.e2e.karpenter.claims import (
    NEEDS_KARPENTER,
    TAINT,
    Claim,
    Kubectl,
    node_class_ref,
    requirement,
)

pytestmark = NEEDS_KARPENTER

Apply = Callable[..., Claim]


def soon() -> Retrying:
    return Retrying(stop=stop_after_delay(60), wait=wait_fixed(0.2), reraise=True)


@pytest.fixture
def claim(kubectl: Kubectl) -> Iterator[Apply]:
    """Apply NodeClaims that go after the test, and their nodes with them."""
    applied: list[Claim] = []

    def apply(instance_type: str, **options: str) -> Claim:
        applied.append(Claim.apply(kubectl, instance_type, **options))
        return applied[-1]

    yield apply
    for each in applied:
        each.delete("--wait=false")


@pytest.mark.parametrize(
    ("instance_type", "gpus"),
    [
        ("Standard_NC24ads_A100_v4", 1),
        ("Standard_NC12s_v3", 2),
        ("Standard_NC96ads_A100_v4", 4),
    ],
)
def test_a_claim_without_a_pool_gets_a_ready_node_with_its_gpus(
    claim: Apply, instance_type: str, gpus: int
) -> None:
    made = claim(instance_type)
    made.wait_ready()
    (node,) = made.nodes()
    labels = node["metadata"]["labels"]
    assert labels["node.kubernetes.io/instance-type"] == instance_type
    assert labels["karpenter.sh/initialized"] == "true"
    assert node["spec"]["taints"] == [TAINT]
    for resources in ("capacity", "allocatable"):
        assert node["status"][resources]["nvidia.com/gpu"] == str(gpus)
    ready = [each for each in node["status"]["conditions"] if each["type"] == "Ready"]
    assert [each["status"] for each in ready] == ["True"]


def test_a_deployment_bound_to_the_node_becomes_available(
    kubectl: Kubectl, claim: Apply, namespace: str
) -> None:
    made = claim("Standard_NC12s_v3")
    made.wait_ready()
    labels = {"app": made.name}
    container = {
        "name": "main",
        "image": "registry.invalid/main:1",
        "resources": {"limits": {"nvidia.com/gpu": "2"}},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "bound"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": {"apps": made.name},
                    "tolerations": [TAINT],
                    "containers": [container],
                },
            },
        },
    }
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(deployment))
    kubectl(
        *("wait", "-n", namespace, "deployment/bound"),
        *("--for=condition=Available", "--timeout=60s"),
    )


def test_a_deleted_claim_takes_its_node_along(claim: Apply) -> None:
    made = claim("Standard_NC12s_v3")
    made.wait_ready()
    assert made.nodes()
    made.delete("--timeout=60s")
    assert made.nodes() == []


def test_a_node_deleted_by_hand_takes_its_claim_along(
    kubectl: Kubectl, claim: Apply
) -> None:
    made = claim("Standard_NC12s_v3")
    made.wait_ready()
    (node,) = made.nodes()
    kubectl("delete", "node", node["metadata"]["name"], "--timeout=60s")
    made.wait_gone()


def test_without_capacity_the_claim_is_deleted_and_an_event_says_why(
    claim: Apply,
) -> None:
    made = claim("Standard_NC12s_v3", node_class="absent")
    made.wait_gone()
    for attempt in soon():
        with attempt:
            (warning,) = made.warnings()
    assert warning["reason"] == "InsufficientCapacityError"
    assert 'KWOKNodeClass.karpenter.kwok.sh "absent" not found' in warning["message"]
    assert made.nodes() == []


def test_an_unknown_instance_type_is_told_by_the_condition_launched(
    claim: Apply,
) -> None:
    made = claim("Standard_Unheard_Of")
    for attempt in soon():
        with attempt:
            launched = made.condition("Launched")
            assert launched.get("reason") == "LaunchFailed"
    assert launched["status"] == "Unknown"
    assert "instance-type=Standard_Unheard_Of" in launched["message"]


def test_a_pool_of_fixed_size_keeps_as_many_nodes(kubectl: Kubectl) -> None:
    pool = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "fixed"},
        "spec": {
            "replicas": 2,
            "template": {
                "spec": {
                    "nodeClassRef": node_class_ref("default"),
                    "requirements": [
                        requirement(
                            "node.kubernetes.io/instance-type", "Standard_NC6s_v3"
                        )
                    ],
                    "taints": [TAINT],
                }
            },
        },
    }
    selector = "--selector=karpenter.sh/nodepool=fixed"

    def nodes() -> list[str]:
        return kubectl("get", "nodes", selector, "-o", "name").stdout.split()

    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(pool))
    try:
        for attempt in soon():
            with attempt:
                assert len(nodes()) == 2
        kubectl(
            "wait", "nodeclaims", selector, "--for=condition=Ready", "--timeout=60s"
        )
        kubectl("scale", "nodepool", "fixed", "--replicas=1")
        for attempt in soon():
            with attempt:
                assert len(nodes()) == 1
    finally:
        kubectl("delete", "nodepool", "fixed")
    for attempt in soon():
        with attempt:
            assert nodes() == []


def test_what_is_there_when_karpenter_goes_goes_with_it(
    kubectl: Kubectl, claim: Apply
) -> None:
    claim("Standard_NC12s_v3").wait_ready()
    claim("Standard_Unheard_Of")
    beside.down(LOCAL)
    try:
        crds = kubectl("get", "crds", "-o", "name").stdout
        nodes = kubectl("get", "nodes", "-o", "name").stdout
    finally:
        beside.up(LOCAL)
    assert "karpenter" not in crds
    assert "kwok" not in nodes
