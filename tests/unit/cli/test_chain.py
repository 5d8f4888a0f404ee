"""The first link that fails is named, with its reason and the next command."""

from dataclasses import replace
from typing import Any

import pytest

from pykaito.commands.advice import OPERATOR_LOG
from pykaito.commands.chain import Link, first_failing
from pykaito.commands.snapshot import Snapshot
from pykaito.commands.why import explain
from tests.unit.cli.objects import (
    NODES_READY,
    SCHEDULED,
    at,
    condition,
    deployment,
    loading,
    machine,
    made_machine,
    pod,
    ready,
    workspace,
)

ANNOTATE = "kubectl annotate workspace ws -n team"


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


@pytest.mark.parametrize(
    ("annotations", "command"),
    [
        ({"kaito.sh/runtime": "transformers"}, f"{ANNOTATE} kaito.sh/runtime-"),
        ({}, "kubectl describe workspace ws -n team"),
    ],
)
def test_a_runtime_that_does_not_serve_is_unnamed_where_it_is_named(
    annotations: dict[str, str], command: str
) -> None:
    stalled = condition("Stalled", "True", "RuntimeNotSupported", "not of AMD")
    link = failing(Snapshot(workspace(stalled, annotations=annotations)))
    assert link.command == command


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
    assert link.command == OPERATOR_LOG


def not_made(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    down = [condition(kind, "False", reason, message) for kind in ("Launched", "Ready")]
    return made_machine(*down, **more)


def of_made(reason: str, **more: Any) -> Link:
    return failing(Snapshot(no_nodes(reason), [not_made(reason, **more)]))


def test_a_node_that_cannot_be_made_is_its_machines_fault_with_the_clouds_words() -> (
    None
):
    held = not_made("CloudQuotaExceeded", "limit 0 of NCadsA100v4", failures=3)
    seen = Snapshot(no_nodes("CloudQuotaExceeded", "0 of 1 nodes ready"), [held])
    assert explain(seen, first_failing(seen)) == (
        "Workspace team/ws is held up by Machine ws-0.\n"
        "  CloudQuotaExceeded: limit 0 of NCadsA100v4\n"
        "Next: kubectl get machine ws-0 -n team -o yaml\n"
    )


@pytest.mark.parametrize(
    ("spec", "command"),
    [
        (
            {"zones": ["1"], "capacityType": "spot"},
            f"{ANNOTATE} kaito.sh/zones-",
        ),
        (
            {"capacityType": "spot"},
            f"{ANNOTATE} kaito.sh/capacity-type-",
        ),
        ({}, "kubectl get machine ws-0 -n team -o yaml"),
    ],
)
def test_where_a_cloud_has_none_left_another_choice_is_the_next_command(
    spec: dict[str, Any], command: str
) -> None:
    assert of_made("InsufficientCapacity", spec=spec).command == command


@pytest.mark.parametrize(
    ("provisioner", "command"),
    [
        ("karpenter", "kubectl describe nodeclaim ws1a2b3c4d5"),
        ("karpenter_nodepool", "kubectl describe nodepool ws1a2b3c4d5"),
        ("azure_arm", "kubectl get machine ws-0 -n team -o yaml"),
    ],
)
def test_what_was_made_is_looked_at_where_kubectl_can(
    provisioner: str, command: str
) -> None:
    of = {"instance": "ws1a2b3c4d5", "spec": {"provisioner": provisioner}}
    assert of_made("LaunchTimeout", **of).command == command


@pytest.mark.parametrize(
    "reason",
    [
        "ProvisionerNotConfigured",
        "ProvisionerNotFound",
        "ProvisionerNotInstalled",
        "CloudUnauthorized",
        "TargetNotFound",
    ],
)
def test_what_the_operator_lacks_is_in_its_log(reason: str) -> None:
    link = of_made(reason, instance="ws1a2b3c4d5")
    assert (link.kind, link.command) == ("Machine", OPERATOR_LOG)
    assert not link.progressing


@pytest.mark.parametrize("reason", ["Launching", "OperationInProgress"])
def test_a_node_on_its_way_is_waited_for(reason: str) -> None:
    assert of_made(reason).progressing


def joined(reason: str, **status: Any) -> Link:
    held = made_machine(
        condition("Launched", "True"),
        condition("Registered", "True"),
        condition("Ready", "False", reason),
        phase="Registered",
        nodeName="aks-1",
        **status,
    )
    return failing(Snapshot(no_nodes(reason), [held]))


def test_a_node_that_joined_is_described_and_its_driver_waited_for() -> None:
    link = joined("ResourceMissing")
    assert (link.kind, link.name, link.progressing) == ("Node", "aks-1", True)
    assert link.command == "kubectl describe node aks-1"


def test_a_made_node_that_was_ready_and_is_no_longer_holds_up() -> None:
    assert not joined("NodeNotReady", readyTime=at(60)).progressing


def test_a_made_node_that_is_away_is_its_machines_fault() -> None:
    held = not_made("NodeNotFound", nodeName="aks-1", instance="ws1a2b3c4d5")
    link = failing(Snapshot(no_nodes("NodeNotFound"), [held]))
    assert (link.kind, link.name) == ("Machine", "ws-0")
    assert link.command == "kubectl describe nodeclaim ws1a2b3c4d5"


def test_a_machine_that_fails_is_told_rather_than_one_on_its_way() -> None:
    machines = [not_made("Launching"), not_made("CloudQuotaExceeded", slot=1)]
    assert failing(Snapshot(no_nodes("Launching"), machines)).name == "ws-1"


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        ("NodesReleased", f"{ANNOTATE} kaito.sh/keep-nodes=true --overwrite"),
        ("MachineLimitReached", "kubectl get machines -A"),
        ("WorkspaceMachineLimitExceeded", "kubectl describe workspace ws -n team"),
    ],
)
def test_nodes_that_the_operator_does_not_make_come_before_those_it_does(
    reason: str, command: str
) -> None:
    seen = Snapshot(no_nodes(reason, "not made"), [not_made("Launching")])
    link = failing(seen)
    assert (link.kind, link.reason, link.message) == ("Workspace", reason, "not made")
    assert link.command == command


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
