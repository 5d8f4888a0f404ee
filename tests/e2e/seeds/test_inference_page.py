"""The inference document, as its page shows it: each Workspace and each command."""

import json

import pytest

from hack.weights import deliver_adapter
from tests.e2e.seeds.chat import EXAMPLE, EXAMPLE_WITH_ALL_PARAMETERS
from tests.e2e.seeds.reader import Prepare, Reader, Readers
from tests.e2e.workspaces import Live

pytestmark = [
    pytest.mark.usefixtures("operator"),
    pytest.mark.serial,
    pytest.mark.timeout(600),
]

NAME = "workspace-falcon-7b"
RUN = "kubectl run -it --rm --restart=Never curl --image=curlimages/curl -- "


@pytest.fixture(scope="module")
def reader(reader_of: Readers, prepare: Prepare) -> Reader:
    prepare("Standard_NC24ads_A100_v4", apps="falcon-7b")
    return reader_of("inference_page")


@pytest.fixture(scope="module")
def serving(reader: Reader) -> Live:
    reader.types("kubectl apply -f examples/inference/falcon-7b.yaml")
    workspace = reader.workspace(NAME)
    workspace.wait_serving()
    return workspace


def test_a_prepared_node_reports_its_gpus_as_allocatable(
    reader: Reader, gpu_node: str
) -> None:
    reader.export("NODE_NAME", gpu_node)
    shown = reader.types("kubectl get node $NODE_NAME -o json | jq .status.allocatable")
    allocatable = json.loads(shown)
    assert int(allocatable["nvidia.com/gpu"]) > 0
    named = {"cpu", "ephemeral-storage", "hugepages-1Gi", "memory", "pods"}
    assert named <= allocatable.keys()


def test_the_workspace_is_served_by_a_deployment(serving: Live) -> None:
    (deployment,) = serving.get("deployments")
    assert deployment["metadata"]["name"] == NAME
    assert serving.get("statefulsets") == []


@pytest.mark.usefixtures("serving")
def test_the_basic_example_is_answered(reader: Reader) -> None:
    assert "Result" in reader.asks(RUN + EXAMPLE.replace("<SERVICE>", NAME))


@pytest.mark.usefixtures("serving")
def test_every_documented_parameter_is_understood(reader: Reader) -> None:
    command = EXAMPLE_WITH_ALL_PARAMETERS.replace("<SERVICE>", NAME)
    assert "Result" in reader.asks(RUN + command)


def test_the_runtime_is_named_without_a_restart_where_it_is_in_use(
    reader: Reader, serving: Live
) -> None:
    """The transformers runtime is the only one yet, named or not."""
    before = [pod["metadata"]["uid"] for pod in serving.get("pods")]
    reader.types("kubectl apply -f examples/inference/falcon-7b-transformers.yaml")
    assert "Result" in reader.asks(RUN + EXAMPLE.replace("<SERVICE>", NAME))
    assert [pod["metadata"]["uid"] for pod in serving.get("pods")] == before


def test_an_adapter_whose_image_is_a_placeholder_is_taken_and_explained(
    reader: Reader, serving: Live
) -> None:
    reader.types("kubectl apply -f examples/inference/falcon-7b-adapter.yaml")
    message = serving.wait_reason("InferenceReady", "ImagePullError", 120)
    assert "<YOUR_IMAGE>" in message
    serving.wait_event("ImagePullError")


def test_the_adapter_is_served_with_an_image_in_the_placeholders_place(
    reader: Reader, serving: Live
) -> None:
    image = deliver_adapter("falcon")
    reader.types(
        f"sed 's|<YOUR_IMAGE>|{image}|' examples/inference/falcon-7b-adapter.yaml "
        "| kubectl apply -f -"
    )
    serving.wait_reason("InferenceReady", "WorkspaceInferenceStatusPending")
    serving.wait_serving()
    assert "Result" in reader.asks(RUN + EXAMPLE.replace("<SERVICE>", NAME))
    pods = serving.get("pods")
    (pod,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    (variable,) = [
        v for v in pod["spec"]["containers"][0]["env"] if v["name"] == "KAITO_ADAPTERS"
    ]
    assert json.loads(variable["value"]) == [
        {"name": "falcon-7b-adapter", "strength": "0.2"}
    ]
