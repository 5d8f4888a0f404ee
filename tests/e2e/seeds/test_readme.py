"""The README: its quick start and what it answers to questions."""

import json
from typing import Any

import pytest

from tests.e2e.seeds.reader import Prepare, Reader, Readers
from tests.e2e.workspaces import Live

pytestmark = [
    pytest.mark.usefixtures("operator"),
    pytest.mark.serial,
    pytest.mark.timeout(600),
]

NAME = "workspace-phi-3-5-mini"
INSTRUCT = "workspace-falcon-7b-instruct"
COMMAND = (
    "accelerate launch --num_processes 1 --num_machines 1 --machine_rank 0 "
    "--gpu_ids all inference_api.py --pipeline text-generation --torch_dtype bfloat16"
)


@pytest.fixture(scope="module")
def reader(reader_of: Readers, prepare: Prepare) -> Reader:
    prepare("Standard_NC24ads_A100_v4", apps="phi-3-5")
    return reader_of("readme")


@pytest.fixture(scope="module")
def serving(reader: Reader) -> Live:
    """The quick start's Workspace, once its table says that it serves."""
    path = "examples/inference/kaito_workspace_phi_3.5-instruct.yaml"
    assert "name: phi-3.5-mini-instruct" in reader.types(f"cat {path}")
    reader.types(f"kubectl apply -f {path}")
    workspace = reader.workspace(NAME)
    workspace.wait_serving()
    address = (
        'kubectl get svc workspace-phi-3-5-mini -o jsonpath="{.spec.clusterIPs[0]}"'
    )
    reader.export("CLUSTERIP", reader.types(address))
    return workspace


@pytest.mark.usefixtures("serving")
def test_the_table_has_the_documented_columns(reader: Reader) -> None:
    shown = reader.types("kubectl get workspace workspace-phi-3-5-mini")
    header, row = shown.splitlines()
    assert header.split() == [
        *("NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY"),
        *("JOBSTARTED", "WORKSPACESUCCEEDED", "AGE"),
    ]
    *cells, _ = row.split()
    assert cells == [NAME, "Standard_NC24ads_A100_v4", "True", "True", "True"]


@pytest.mark.usefixtures("serving")
def test_the_service_is_listed_as_documented(reader: Reader) -> None:
    shown = reader.types("kubectl get svc workspace-phi-3-5-mini")
    header, row = shown.splitlines()
    assert header.split() == [
        *("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"),
    ]
    name, kind, address, external, ports, _ = row.split()
    assert (name, kind, external) == (NAME, "ClusterIP", "<none>")
    assert ports == "80/TCP,29500/TCP"
    assert address == reader.types("echo -n $CLUSTERIP")


@pytest.mark.usefixtures("serving")
def test_the_models_are_found(reader: Reader) -> None:
    """After the model's JSON, jq meets kubectl's word that the pod is deleted."""
    listed = reader.asks(
        "kubectl run -it --rm --restart=Never curl --image=curlimages/curl -- "
        "curl -s http://$CLUSTERIP/v1/models | jq"
    )
    assert listed["object"] == "list"
    (card,) = listed["data"]
    assert card["id"] == "phi-3.5-mini-instruct"
    documented = {"id", "object", "created", "owned_by", "root", "parent"}
    assert documented | {"max_model_len"} <= card.keys()


@pytest.mark.usefixtures("serving")
def test_an_inference_call_is_answered(reader: Reader) -> None:
    answer = reader.asks(
        r"""kubectl run -it --rm --restart=Never curl --image=curlimages/curl -- curl -X POST http://$CLUSTERIP/v1/completions \
-H "Content-Type: application/json" \
-d '{
"model": "phi-3.5-mini-instruct",
"prompt": "What is kubernetes?",
"max_tokens": 7,
"temperature": 0
}'"""  # noqa: E501 - as documented
    )
    assert answer["object"] == "text_completion"
    assert answer["usage"]["completion_tokens"] <= 7


def test_a_deleted_workload_comes_back_as_the_preset_has_it(
    reader: Reader, serving: Live
) -> None:
    (before,) = serving.get("deployments")
    reader.types(f"kubectl delete deployment {NAME}")
    serving.kubectl("wait", "deployment", NAME, "--for=create", "--timeout=60s")
    (after,) = serving.get("deployments")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert command_of(after) == command_of(before)


def test_a_preferred_node_needs_the_selectors_label(
    reader: Reader, gpu_node: str
) -> None:
    workspace = apply(
        reader,
        name="workspace-unlabelled",
        resource={
            "labelSelector": {"matchLabels": {"apps": "falcon-7b"}},
            "preferredNodes": [gpu_node],
        },
    )
    message = workspace.wait_reason("ResourceReady", "LabelMismatch")
    command = message.partition("run: ")[2].split()
    assert command[:4] == ["kubectl", "label", "node", gpu_node]
    reader.types(" ".join([*command[:5], "--overwrite"]))
    workspace.wait("condition=ResourceReady=True")
    workspace.kubectl("delete", "workspace", workspace.name, "--timeout=60s")


def test_the_command_is_edited_as_documented(reader: Reader, prepare: Prepare) -> None:
    """Without a GPU nothing is quantized: the pod ends, and it is said why."""
    prepare("Standard_NC24ads_A100_v4", apps="falcon-7b")
    workspace = apply(
        reader,
        name=INSTRUCT,
        resource={
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "falcon-7b"}},
        },
    )
    workspace.kubectl("wait", "deployment", INSTRUCT, "--for=create", "--timeout=60s")
    (made,) = workspace.get("deployments")
    assert COMMAND in command_of(made)

    edit(reader, "s/--torch_dtype bfloat16/& --load_in_4bit/")
    workspace.wait_event("FieldsLeftToOwner", "kubectl-edit")
    message = workspace.wait_reason("InferenceReady", "ContainerCrashLoopBackOff", 120)
    assert "--load_in_4bit: needs a GPU" in message
    assert "kubectl-edit" in message
    (edited,) = workspace.get("deployments")
    assert f"{COMMAND} --load_in_4bit" in command_of(edited)

    reader.types(f"kubectl delete deployment {INSTRUCT}")
    workspace.kubectl("wait", "deployment", INSTRUCT, "--for=create", "--timeout=60s")
    (again,) = workspace.get("deployments")
    assert command_of(again) == command_of(made)

    edit(reader, "s/--pipeline text-generation/--pipeline conversational/")
    workspace.wait_event("FieldsLeftToOwner", "kubectl-edit")
    workspace.wait_serving()
    answer = reader.asks(
        "kubectl run -it --rm --restart=Never curl --image=curlimages/curl -- "
        f"curl -X POST http://{INSTRUCT}/chat -H 'Content-Type: application/json' "
        """-d '{"messages": [{"role": "user", "content": "What is kubernetes?"}]}'"""
    )
    assert "Result" in answer


def apply(reader: Reader, *, name: str, resource: dict[str, Any]) -> Live:
    obj = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": resource,
        "inference": {"preset": {"name": "falcon-7b-instruct"}},
    }
    (reader.folder / "workspace.json").write_text(json.dumps(obj))
    reader.types("kubectl apply -f workspace.json")
    return reader.workspace(name)


def edit(reader: Reader, expression: str) -> None:
    """Let `kubectl edit` open an editor that knows what to do."""
    reader.export("EDITOR", f"sed -i '{expression}'")
    shown = reader.types(f"kubectl edit deployment {INSTRUCT}")
    assert shown.strip() == f"deployment.apps/{INSTRUCT} edited"


def command_of(deployment: dict[str, Any]) -> str:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return str(container["command"][-1])
