"""A prepared node is compared with what the Machine asks for."""

from typing import Any

import pytest

from pykaito.api.parse import parse
from pykaito.api.v1alpha1.machine import Machine
from pykaito.provisioners.node_checks import check_initialized
from pykaito.provisioners.preferred_nodes import machine_node, observe
from pykaito.provisioners.protocol import MachineReason

MACHINE = parse(
    Machine,
    {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Machine",
        "metadata": {"name": "m", "namespace": "default"},
        "spec": {
            "provisioner": "preferred_nodes",
            "nodeName": "gpu-0",
            "matchLabels": {"apps": "phi"},
            "resources": {"nvidia.com/gpu": "2"},
        },
    },
)


def node(
    *, apps: str | None = "phi", ready: str = "True", gpus: str | None = "2"
) -> dict[str, Any]:
    return {
        "metadata": {"name": "gpu-0", "labels": {"apps": apps} if apps else {}},
        "spec": {"providerID": "local://gpu-0"},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "message": "no CNI"}],
            "allocatable": {"nvidia.com/gpu": gpus} if gpus else {},
        },
    }


def test_a_node_as_asked_for_is_ready() -> None:
    seen = observe(MACHINE, node())
    assert seen.launched.ok
    assert seen.registered.ok
    assert seen.initialized.ok
    assert (seen.node_name, seen.provider_id) == ("gpu-0", "local://gpu-0")


def test_a_node_that_does_not_exist_is_named() -> None:
    seen = observe(MACHINE, None)
    assert seen.registered.reason == MachineReason.NODE_NOT_FOUND
    assert "'gpu-0' does not exist" in seen.registered.message
    assert not seen.initialized.ok


def test_a_missing_label_is_told_with_the_command_that_adds_it() -> None:
    seen = observe(MACHINE, node(apps=None))
    assert seen.registered.reason == MachineReason.LABEL_MISMATCH
    assert seen.registered.message.endswith("kubectl label node gpu-0 apps=phi")


def test_another_value_is_told_with_the_command_that_replaces_it() -> None:
    seen = observe(MACHINE, node(apps="falcon"))
    assert "has apps=falcon" in seen.registered.message
    assert seen.registered.message.endswith("apps=phi --overwrite")


def test_a_node_that_is_not_ready_is_told_with_the_kubelets_words() -> None:
    seen = observe(MACHINE, node(ready="False"))
    assert seen.initialized.reason == MachineReason.NODE_NOT_READY
    assert "no CNI" in seen.initialized.message


def test_too_few_gpus_are_told_with_both_numbers() -> None:
    seen = observe(MACHINE, node(gpus="1"))
    assert seen.initialized.reason == MachineReason.RESOURCE_MISSING
    assert "has 1 nvidia.com/gpu allocatable, 2 wanted" in seen.initialized.message


def test_no_gpus_at_all_are_told_as_zero() -> None:
    assert (
        "has 0 nvidia.com/gpu" in observe(MACHINE, node(gpus=None)).initialized.message
    )


def test_machines_are_found_by_the_node_that_they_name() -> None:
    assert list(machine_node({"spec": {"nodeName": "gpu-0"}})) == ["gpu-0"]
    assert list(machine_node({"spec": {}})) == []


@pytest.mark.parametrize(
    ("resource", "found", "told"),
    [
        ("nvidia.com/gpu", "0", "check that the device plugin runs on it"),
        ("nvidia.com/gpu", "2", "name a node with more of them"),
        ("nvidia.com/mig-1g.10gb", "0", "cut into such slices"),
        ("memory", "0", "name a larger node in resource.preferredNodes"),
        ("cpu", "0", "name a larger node in resource.preferredNodes"),
    ],
)
def test_what_a_node_lacks_is_told_with_a_remedy_that_fits(
    resource: str, found: str, told: str
) -> None:
    missing = check_initialized(node(gpus=found), {resource: "3"})
    assert missing.reason == MachineReason.RESOURCE_MISSING
    assert f"has {found} {resource} allocatable, 3 wanted; " in missing.message
    assert told in missing.message


@pytest.mark.parametrize("allocatable", ["3800Mi", "4Gi", "3984588800", "5e9"])
def test_memory_is_compared_in_whatever_unit(allocatable: str) -> None:
    found = node()
    found["status"]["allocatable"] = {"memory": allocatable, "cpu": "940m"}
    assert check_initialized(found, {"cpu": "470m", "memory": "3800Mi"}).ok
    assert not check_initialized(found, {"cpu": "1", "memory": "3800Mi"}).ok
