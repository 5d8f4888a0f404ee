"""A Workspace through edits, restarts of the operator, and its end."""

import json
import os
import random

import pytest

from tests.e2e.workspaces import Applied, Kubectl, example, prepared

pytestmark = [
    pytest.mark.usefixtures("operator"),
    pytest.mark.serial,
    pytest.mark.timeout(600),
]

#: How often the operator is killed; `make soak` asks for more.
KILLS = int(os.environ.get("SOAK_KILLS", "3"))


@pytest.fixture
def applied(
    kubectl: Kubectl, namespace: str, gpu_node: str, missing_image: str
) -> Applied:
    """A Workspace whose workload is applied in full and never starts."""
    obj = prepared(example("falcon-7b.yaml"), node=gpu_node, weights=missing_image)
    return Applied(kubectl, namespace, obj)


def wait_for_workload(applied: Applied) -> None:
    applied.wait_reason("InferenceReady", "ImagePullError", 120)


def restart_operator(kubectl: Kubectl, operator: str) -> None:
    """Kill the operator's pod without a chance to end anything it began."""
    kubectl(
        *("delete", "pods", "-n", operator, "-l", "app.kubernetes.io/name=pykaito"),
        *("--grace-period=0", "--force"),
    )


def uids(applied: Applied) -> dict[str, list[str]]:
    kinds = ("machines", "deployments", "services")
    return {
        kind: [item["metadata"]["uid"] for item in applied.get(kind)] for kind in kinds
    }


def command_of(applied: Applied) -> str:
    (deployment,) = applied.get("deployments")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return str(container["command"][-1])


def edit_command(applied: Applied) -> str:
    """Add the documented flag as `kubectl edit` would."""
    edited = f"{command_of(applied)} --load_in_4bit"
    patch = [
        {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/command/2",
            "value": edited,
        }
    ]
    applied.kubectl(
        *("patch", "deployment", applied.name, "--type=json"),
        *("--patch", json.dumps(patch), "--field-manager=kubectl-edit"),
    )
    return edited


def test_an_edited_command_stays_and_is_reported(
    kubectl: Kubectl, operator: str, applied: Applied
) -> None:
    """It stays through a restart of the operator and changes of all else."""
    wait_for_workload(applied)
    edited = edit_command(applied)
    applied.wait_event("FieldsLeftToOwner", "kubectl-edit")
    restart_operator(kubectl, operator)
    kubectl("rollout", "status", "-n", operator, "deployment/pykaito", "--timeout=120s")
    settings = "--from-literal=inference_config.yaml=vllm: {max-model-len: 1024}"
    applied.kubectl("create", "configmap", "settings", settings)
    source = {"name": "tone", "image": "registry.invalid/tone:1"}
    change = {"config": "settings", "adapters": [{"source": source}]}
    patch = json.dumps({"inference": change})
    applied.kubectl("patch", "workspace", applied.name, "--type=merge", "-p", patch)
    applied.kubectl(
        # The lease of an operator that was killed has to expire first.
        *("wait", "deployment", applied.name, "--timeout=120s"),
        "--for=jsonpath={.spec.template.spec.initContainers"
        '[?(@.name=="adapter-tone")].image}=registry.invalid/tone:1',
    )
    (deployment,) = applied.get("deployments")
    assert "settings" in json.dumps(deployment["spec"]["template"]["spec"]["volumes"])
    assert command_of(applied) == edited
    assert "kubectl-edit" in applied.wait_reason("InferenceReady", "ImagePullError")
    applied.kubectl("delete", "deployment", applied.name)
    applied.kubectl("wait", "deployment", applied.name, "--for=create", "--timeout=60s")
    assert "--load_in_4bit" not in command_of(applied)
    assert "--max_model_len 1024" in command_of(applied)


def test_an_operator_killed_at_any_moment_leaves_no_second_child(
    kubectl: Kubectl, operator: str, namespace: str, gpu_node: str, missing_image: str
) -> None:
    rng = random.Random(20261121)  # noqa: S311 - a seed, no secret
    obj = prepared(example("falcon-7b.yaml"), node=gpu_node, weights=missing_image)
    applied = Applied(kubectl, namespace, obj)
    seen: dict[str, list[str]] = {}
    for _ in range(KILLS):
        # What it has got to when it is killed differs from round to round: the
        # wait is for one of the children, drawn by lot, or for none.
        if kind := rng.choice(["", "machines", "deployments"]):
            kubectl(
                *("wait", kind, "-n", namespace, "-l", "kaito.sh/workspace"),
                *("--for=create", "--timeout=120s"),
            )
        restart_operator(kubectl, operator)
        for found, ids in uids(applied).items():
            assert len(ids) <= 1
            assert seen.get(found, ids or []) in ([], ids), "a child was made twice"
            seen[found] = ids
    wait_for_workload(applied)
    final = uids(applied)
    assert {kind: len(ids) for kind, ids in final.items()} == {
        "machines": 1,
        "deployments": 1,
        "services": 1,
    }
    for kind, ids in seen.items():
        assert ids in ([], final[kind]), f"the first of {kind} was replaced"
    assert len(applied.get("pods")) == 1


def test_a_deleted_workspace_takes_all_with_it_but_the_node(
    kubectl: Kubectl, applied: Applied, gpu_node: str
) -> None:
    read_labels = ("get", "node", gpu_node, "-o", "jsonpath={.metadata.labels}")
    before = kubectl(*read_labels).stdout
    wait_for_workload(applied)
    applied.kubectl("delete", "workspace", applied.name, "--timeout=30s")
    for kind in ("machines", "deployments", "services", "pods"):
        applied.kubectl(
            *("wait", kind, "-l", f"kaito.sh/workspace={applied.name}"),
            *("--for=delete", "--timeout=30s"),
        )
    assert kubectl(*read_labels).stdout == before
