"""The README in Chinese: Phi-3, alone and with an adapter, and tuning by its side."""

from typing import Any

import pytest

from hack.weights import deliver_adapter
from tests.e2e.seeds.reader import Prepare, Reader, Readers
from tests.e2e.workspaces import Live

pytestmark = [
    pytest.mark.usefixtures("operator"),
    pytest.mark.serial,
    pytest.mark.timeout(600),
]

NAME = "workspace-phi-3-mini"
ADAPTED = "workspace-phi-3-mini-adapter"
PLACEHOLDER = "ACR_REPO_HERE.azurecr.io/ADAPTER_HERE:0.0.1"
ASK = (
    "kubectl run -it --rm --restart=Never curl --image=curlimages/curl -- curl -X POST "
    'http://$CLUSTERIP/chat -H "accept: application/json" -H "Content-Type: '
    r'application/json" -d "{\"prompt\":\"YOUR QUESTION HERE\"}"'
)


@pytest.fixture(scope="module")
def reader(reader_of: Readers, prepare: Prepare) -> Reader:
    prepare("Standard_NC6s_v3", apps="phi-3")
    return reader_of("readme_in_chinese")


@pytest.fixture(scope="module")
def serving(reader: Reader) -> Live:
    reader.types("kubectl apply -f examples/inference/phi-3-mini.yaml")
    workspace = reader.workspace(NAME)
    workspace.wait_serving()
    return workspace


@pytest.mark.usefixtures("serving")
def test_the_service_answers_a_temporary_pod(reader: Reader) -> None:
    shown = reader.types("kubectl get svc workspace-phi-3-mini")
    assert "80/TCP,29500/TCP" in shown
    address = f'kubectl get svc {NAME} -o jsonpath="{{.spec.clusterIPs[0]}}"'
    reader.export("CLUSTERIP", reader.types(address))
    assert "Result" in reader.asks(ASK)


@pytest.mark.usefixtures("serving")
def test_the_tables_command_names_a_file_where_kubectl_wants_a_workspace(
    reader: Reader,
) -> None:
    """A slip of the document, which no operator can mend."""
    command = "kubectl get workspace kaito_workspace_phi_3.yaml"
    assert "NotFound" in reader.types(command, check=False)
    assert NAME in reader.types(f"kubectl get workspace {NAME}")


def test_an_adapter_whose_image_is_a_placeholder_is_taken_and_explained(
    reader: Reader, prepare: Prepare
) -> None:
    prepare("Standard_NC6s_v3", apps="phi-3-adapter")
    reader.types("kubectl apply -f examples/inference/phi-3-mini-adapter.yaml")
    workspace = reader.workspace(ADAPTED)
    message = workspace.wait_reason("InferenceReady", "ImagePullError", 120)
    assert PLACEHOLDER in message
    shown = reader.types("kubectl get svc workspace-phi-3-mini-adapter")
    assert "80/TCP,29500/TCP" in shown


def test_the_adapter_is_served_with_an_image_in_the_placeholders_place(
    reader: Reader,
) -> None:
    image = deliver_adapter("phi3")
    reader.types(
        f"sed 's|{PLACEHOLDER}|{image}|' examples/inference/phi-3-mini-adapter.yaml "
        "| kubectl apply -f -"
    )
    reader.workspace(ADAPTED).wait_serving()
    address = f'kubectl get svc {ADAPTED} -o jsonpath="{{.spec.clusterIPs[0]}}"'
    reader.export("CLUSTERIP", reader.types(address))
    assert "Result" in reader.asks(ASK)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("kaito_workspace_phi_3.yaml", NAME),
        ("kaito_workspace_phi_3_with_adapters.yaml", ADAPTED),
    ],
)
def test_tuning_is_taken_and_said_to_wait_for_a_later_release(
    reader_of: Readers, file: str, name: str
) -> None:
    reader = reader_of("readme_in_chinese")
    path = f"examples/inference/{file}"
    assert "method: qlora" in reader.types(f"cat {path}")
    reader.types(f"kubectl apply -f {path}")
    workspace = reader.workspace(name)
    workspace.wait_reason("Ready", "TuningNotSupported")
    made: list[Any] = [*workspace.get("machines"), *workspace.get("jobs")]
    assert made == []
