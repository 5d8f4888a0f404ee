"""What `pykaito status` prints, as text."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from pykaito.commands.screen import screen
from pykaito.commands.snapshot import Snapshot
from pykaito.commands.view import as_data, view
from tests.unit.cli.objects import (
    NOW,
    at,
    condition,
    loading,
    machine,
    made_machine,
    node,
    pod,
    ready,
    workspace,
)


def text(seen: Snapshot, *, width: int = 200) -> str:
    to = Console(file=io.StringIO(), width=width, highlight=False)
    to.print(screen(view(seen, NOW)))
    lines = to.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)


def squeezed(seen: Snapshot) -> list[str]:
    return [" ".join(line.split()) for line in text(seen).splitlines()]


def test_the_summary_says_model_state_nodes_url_and_age() -> None:
    lines = squeezed(ready())
    assert lines[:6] == [
        "Workspace team/ws",
        "Model phi-2",
        "State Ready (workspaceSucceeded)",
        "Nodes 1 of 1 ready",
        "URL http://ws.team.svc",
        "Age 5m",
    ]


def test_the_tree_leads_from_the_workspace_to_node_and_pod() -> None:
    lines = squeezed(ready())
    start = lines.index("NAME KIND STATUS AGE INFO")
    assert lines[start + 1 : start + 7] == [
        "ws Workspace Ready 5m phi-2",
        "├─ ws-1a2b3c4d Machine Ready 5m preferred_nodes",
        "│ └─ gpu-0 Node Ready 125m Standard_NC6 nvidia.com/gpu:1",
        "├─ ws Deployment Available 5m available:1/1",
        "│ └─ ws-pod Pod Running 4m58s ready:1/1 restarts:0 node:gpu-0",
        "└─ ws Service ClusterIP 5m 10.0.0.7 ports:80,29500",
    ]


def test_conditions_come_with_type_reason_age_and_message() -> None:
    lines = squeezed(ready())
    assert "TYPE STATUS REASON AGE MESSAGE" in lines
    assert "Ready True workspaceSucceeded 116s" in lines


def test_the_timeline_shows_what_is_under_way() -> None:
    lines = squeezed(loading())
    assert any(line.startswith("weights copied done 40s ") for line in lines)
    assert "model loaded now 3m56s so far load" in lines


DOING = "downloading the weights: 43 % (12.1 of 28.0 GB, 250 MB/s, 64 s left)"


def downloading(pod: str = "ws-pod") -> Snapshot:
    """Return a Workspace whose operator was told how far a pod is."""
    seen = loading()
    (told,) = (
        c
        for c in seen.workspace["status"]["conditions"]
        if c["type"] == "InferenceReady"
    )
    told["message"] = f"0 of 2 replicas serve: pod {pod} is {DOING}; left as is"
    return seen


def test_a_server_that_loads_is_shown_with_what_the_operator_was_told() -> None:
    lines = squeezed(downloading())
    assert f"Waits for server ws-pod: pod ws-pod is {DOING}" in lines
    assert f"model loaded now 3m56s so far load: {DOING}" in lines
    told = json.loads(json.dumps(as_data(view(downloading(), NOW))))
    steps = {step["name"]: step for step in told["timeline"]}
    assert steps["model loaded"]["doing"] == DOING
    assert steps["serving"]["doing"] is None


def test_what_was_told_of_another_pod_is_not_shown_for_this_one() -> None:
    lines = squeezed(downloading("ws-pod-2"))
    assert "Waits for server ws-pod: pod ws-pod is loading the model" in lines
    assert "model loaded now 3m56s so far load" in lines


def test_a_server_that_has_loaded_meanwhile_is_not_said_to_load() -> None:
    seen = downloading()
    seen.pods[0]["status"]["containerStatuses"][0]["started"] = True
    lines = squeezed(seen)
    said = "pod ws-pod has loaded the model and is not ready yet"
    assert f"Waits for server ws-pod: {said}" in lines
    assert "model loaded now 3m56s so far load" in lines


def test_what_is_waited_for_is_in_the_summary_and_the_next_command_last() -> None:
    lines = squeezed(loading())
    assert "Waits for server ws-pod: pod ws-pod is loading the model" in lines
    assert lines[-1] == "Next: kubectl logs ws-pod -n team -c ws --follow"


def test_a_workspace_that_serves_is_answered_with_how_to_reach_it() -> None:
    assert squeezed(ready())[-1] == (
        "Next: kubectl port-forward service/ws -n team 8080:80"
    )


def test_a_pod_that_cannot_pull_shows_what_kubectl_shows() -> None:
    held = pod(weights={"waiting": {"reason": "ImagePullBackOff"}})
    assert "Init:ImagePullBackOff" in text(replace(loading(), pods=[held]))


def test_a_node_that_does_not_exist_is_in_the_tree() -> None:
    seen = Snapshot(workspace(), [machine(node="gone")])
    assert "└─ gone Node NotFound" in "\n".join(squeezed(seen))


def test_a_machine_that_is_made_tells_type_provisioner_instance_and_failures() -> None:
    held = made_machine(instance="ws1a2b3c4d5", failures=2, nodeName="gpu-0")
    lines = squeezed(Snapshot(workspace(), [held, made_machine(slot=1)], [node()]))
    start = lines.index("NAME KIND STATUS AGE INFO")
    assert lines[start + 2 : start + 5] == [
        "├─ ws-0 Machine Pending 5m Standard_NC6 karpenter ws1a2b3c4d5 failures:2",
        "│ └─ gpu-0 Node Ready 125m Standard_NC6 nvidia.com/gpu:1",
        "└─ ws-1 Machine Pending 5m Standard_NC6 karpenter",
    ]


@pytest.mark.parametrize(
    ("offered", "shown"),
    [
        ({"cpu": "8"}, "nvidia.com/gpu:0"),
        ({"amd.com/gpu": "8", "nvidia.com/gpu": "0"}, "amd.com/gpu:8"),
        ({"nvidia.com/mig-1g.10gb": "7"}, "nvidia.com/mig-1g.10gb:7"),
    ],
)
def test_a_node_is_shown_with_what_it_offers_to_compute_on(
    offered: dict[str, str], shown: str
) -> None:
    there = node()
    there["status"]["allocatable"] = offered
    seen = replace(ready(), nodes=[there])
    assert f"│ └─ gpu-0 Node Ready 125m Standard_NC6 {shown}" in squeezed(seen)


def test_what_could_not_be_read_is_said_and_the_rest_is_shown() -> None:
    unread = {"nodes": "not allowed to get nodes"}
    seen = replace(ready(), nodes=[], unread=unread)
    shown = squeezed(seen)
    assert "Not shown: nodes (not allowed to get nodes)" in shown
    assert "│ └─ gpu-0 Node ? not allowed to get nodes" in shown


def test_the_last_warnings_are_shown_with_how_often_they_came() -> None:
    events = [
        {
            "metadata": {"creationTimestamp": at(number)},
            "regarding": {"kind": "Pod", "name": "ws-pod"},
            "reason": "Failed",
            "note": f"warning [{number}]",
            "eventTime": at(number),
            "series": {"count": 3, "lastObservedTime": at(60 + number)},
        }
        for number in range(7)
    ]
    shown = text(replace(ready(), warnings=events))
    assert "warning [6]" in shown
    assert "warning [1]" not in shown
    assert "x3" in shown


def test_what_several_conditions_repeat_is_told_once_and_the_page_last() -> None:
    page = "https://example.com/docs/troubleshooting/NoMatchingNode.md"
    message = f"no node qualifies ({page})"
    conditions = [
        condition(kind, "False", "NoMatchingNode", message)
        for kind in ("ResourceReady", "Ready")
    ]
    lines = squeezed(Snapshot(workspace(*conditions)))
    assert "ResourceReady False NoMatchingNode 5m no node qualifies" in lines
    assert "Ready False NoMatchingNode 5m as ResourceReady" in lines
    assert lines[-2] == f"Help: {page}"
    assert lines[-1].startswith("Next: ")


def test_brackets_in_a_message_are_printed_as_they_are() -> None:
    seen = Snapshot(workspace(condition("Ready", "False", "R", "a [red]b[/red]")))
    assert "a [red]b[/red]" in text(seen)


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_folds_messages_and_loses_nothing(width: int) -> None:
    message = "words " * 40
    seen = Snapshot(workspace(condition("Ready", "False", "R", message)))
    assert text(seen, width=width).count("words") >= 40


def test_a_workspace_without_status_has_a_screen() -> None:
    live = workspace()
    del live["status"]
    assert "NotObserved" in text(Snapshot(live))


def test_the_data_form_holds_the_screen_and_is_json() -> None:
    data = json.loads(json.dumps(as_data(view(loading(), NOW))))
    assert data["outcome"] == "progressing"
    assert data["failing"]["kind"] == "server"
    assert data["timeline"][0] == {
        "name": "accepted",
        "progress": "done",
        "at": "2026-03-04T10:00:00+00:00",
        "seconds": None,
        "again": False,
        "stage": None,
        "doing": None,
    }
    assert data["timeline"][-2]["stage"] == "load"
    assert data["stages"] == {"schedule": 1, "image": 21, "weights": 40}
    assert data["tree"][2]["name"] == "gpu-0"
    assert data["conditions"][0]["type"] == "ResourceReady"
