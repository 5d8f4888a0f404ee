"""The first link that fails is named, with its reason and the next command."""

from dataclasses import replace
from typing import Any

import pytest

from pykaito.commands.chain import Link, first_failing
from pykaito.commands.snapshot import Snapshot
from pykaito.commands.why import explain
from tests.unit.cli.objects import (
    NODES_READY,
    SCHEDULED,
    condition,
    deployment,
    loading,
    machine,
    pod,
    ready,
    workspace,
)


def failing(seen: Snapshot) -> Link:
    link = first_failing(seen)
    assert link is not None
    return link


def no_nodes(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return workspace(condition("ResourceReady", "False", reason, message), **more)


def test_nothing_fails_of_a_workspace_that_serves() -> None:
    assert first_failing(ready()) is None
    assert explain(ready(), None) == "Workspace team/ws is ready.\n"


def test_a_spec_that_nothing_can_serve_is_the_workspaces_own_fault() -> None:
    stalled = condition("Stalled", "True", "PresetNotFound", "preset 'phi-22' is not")
    link = failing(Snapshot(workspace(stalled)))
    assert (link.kind, link.reason) == ("Workspace", "PresetNotFound")
    assert link.command == "pykaito models"
    assert not link.progressing


def test_a_pod_that_stalls_its_workspace_is_the_link_itself() -> None:
    stalled = condition("Stalled", "True", "ImagePullError", "no such image")
    held = pod(SCHEDULED, weights=waiting("ImagePullBackOff"))
    seen = replace(loading(), workspace=workspace(NODES_READY, stalled), pods=[held])
    assert (failing(seen).kind, failing(seen).reason) == ("Pod", "ImagePullError")


def test_a_status_of_an_earlier_spec_points_to_the_operator() -> None:
    live = workspace(condition("Ready", "True"))
    live["status"]["observedGeneration"] = 1
    link = failing(Snapshot(live))
    assert link.reason == "NotObserved"
    assert "app.kubernetes.io/name=pykaito" in link.command


def test_a_workspace_that_the_operator_never_saw_is_told_so() -> None:
    live = workspace()
    del live["status"]
    assert failing(Snapshot(live)).reason == "NotObserved"


def test_a_deletion_comes_before_all_else() -> None:
    live = workspace(deletionTimestamp="2026-03-04T10:01:00Z")
    assert failing(Snapshot(live)).reason == "Deleting"


def test_without_a_machine_the_labels_of_nodes_are_what_to_look_at() -> None:
    link = failing(Snapshot(no_nodes("NoMatchingNode", "no node qualifies")))
    assert (link.kind, link.reason) == ("Node", "NoMatchingNode")
    assert link.command == "kubectl get nodes -L node.kubernetes.io/instance-type,apps"


def test_a_node_that_lacks_a_label_is_answered_with_the_messages_own_command() -> None:
    message = (
        "node 'gpu-0' lacks apps=phi; run: kubectl label node gpu-0 apps=phi "
        "(https://example.com/LabelMismatch.md)"
    )
    held = machine(
        condition("Launched", "True"), condition("Ready", "False", "Label", message)
    )
    link = failing(Snapshot(no_nodes("LabelMismatch", message), [held]))
    assert (link.kind, link.name) == ("Node", "gpu-0")
    assert link.command == "kubectl label node gpu-0 apps=phi"


def test_a_node_that_is_not_ready_is_described() -> None:
    held = machine(
        condition("Launched", "True"), condition("Ready", "False", "NodeNotReady")
    )
    link = failing(Snapshot(no_nodes("NodeNotReady"), [held]))
    assert link.command == "kubectl describe node gpu-0"


def test_a_machine_that_nothing_launches_is_the_link_itself() -> None:
    held = machine(
        condition("Launched", "False"),
        condition("Ready", "False", "ProvisionerNotFound"),
    )
    link = failing(Snapshot(no_nodes("ProvisionerNotFound"), [held]))
    assert link.kind == "Machine"
    assert link.command.startswith("kubectl logs -A")


def test_a_deployment_that_may_make_no_pods_is_named() -> None:
    refused = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: gpu")
    seen = Snapshot(workspace(NODES_READY), deployments=[deployment(refused)])
    link = failing(seen)
    assert (link.kind, link.message) == ("Deployment", "exceeded quota: gpu")


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": "told so"}}


def test_an_image_that_cannot_be_pulled_is_the_pods_fault() -> None:
    held = pod(SCHEDULED, weights=waiting("ImagePullBackOff"))
    link = failing(replace(loading(), pods=[held]))
    assert (link.kind, link.reason) == ("Pod", "ImagePullError")
    assert link.command == "kubectl describe pod ws-pod -n team"


def test_a_crash_is_answered_with_the_log_of_the_container_that_crashed() -> None:
    held = pod(SCHEDULED, weights={"terminated": {"exitCode": 1, "message": "no"}})
    link = failing(replace(loading(), pods=[held]))
    assert link.reason == "ContainerCrashLoopBackOff"
    assert link.command == "kubectl logs ws-pod -n team -c weights --previous"


def test_a_pod_that_fits_no_node_is_told_in_the_schedulers_words() -> None:
    held = pod(condition("PodScheduled", "False", message="Insufficient gpu"))
    link = failing(replace(loading(), pods=[held]))
    assert link.reason == "Unschedulable"
    assert "Insufficient gpu" in link.message


def test_a_pod_that_fails_is_told_rather_than_one_on_its_way() -> None:
    fails = pod(SCHEDULED, weights=waiting("ErrImagePull"))
    fails["metadata"]["name"] = "z"
    link = failing(replace(loading(), pods=[*loading().pods, fails]))
    assert link.name == "z"


def test_a_server_that_loads_its_model_is_waited_for_and_its_log_followed() -> None:
    link = failing(loading())
    assert (link.kind, link.progressing) == ("server", True)
    assert "loading the model" in link.message
    assert link.command == "kubectl logs ws-pod -n team -c ws --follow"


def test_what_the_operator_says_stands_in_for_pods_that_cannot_be_read() -> None:
    live = workspace(
        NODES_READY, condition("InferenceReady", "False", "ImagePullError", "denied")
    )
    link = failing(Snapshot(live, unread={"pods": "not allowed to list pods"}))
    assert (link.reason, link.message) == ("ImagePullError", "denied")
    assert not link.progressing


@pytest.mark.parametrize("reason", ["ContainerOOMKilled", "NodeDiskPressure"])
def test_every_link_comes_with_a_command(reason: str) -> None:
    live = workspace(NODES_READY, condition("InferenceReady", "False", reason))
    assert failing(Snapshot(live)).command


def test_an_explanation_is_the_link_the_reason_and_the_next_command() -> None:
    seen = Snapshot(
        no_nodes("NoMatchingNode", "no node qualifies"),
        unread={"pods": "not allowed to list pods"},
    )
    assert explain(seen, first_failing(seen)) == (
        "Workspace team/ws is held up by Node (none).\n"
        "  NoMatchingNode: no node qualifies\n"
        "Next: kubectl get nodes -L node.kubernetes.io/instance-type,apps\n"
        "Not seen: pods (not allowed to list pods)\n"
    )
