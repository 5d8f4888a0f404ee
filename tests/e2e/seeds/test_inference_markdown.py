"""The inference document, as its source has it: the same Workspaces on V100s.

The commands are those of the page, which test_inference_page.py runs.
"""

import pytest

from tests.e2e.seeds.chat import EXAMPLE
from tests.e2e.seeds.reader import Prepare, Reader, Readers

pytestmark = [
    pytest.mark.usefixtures("operator"),
    pytest.mark.serial,
    pytest.mark.timeout(600),
]

NAME = "workspace-falcon-7b"
RUN = "kubectl run -it --rm --restart=Never curl --image=curlimages/curl -- "


@pytest.fixture
def reader(reader_of: Readers) -> Reader:
    return reader_of("inference_markdown")


def test_a_workspace_serves_on_one_v100(reader: Reader, prepare: Prepare) -> None:
    prepare("Standard_NC6s_v3", apps="falcon-7b")
    reader.types("kubectl apply -f examples/inference/falcon-7b.yaml")
    workspace = reader.workspace(NAME)
    workspace.wait_serving()
    assert "Result" in reader.asks(RUN + EXAMPLE.replace("<SERVICE>", NAME))


def test_the_transformers_runtime_serves_and_an_adapters_placeholder_is_explained(
    reader: Reader, prepare: Prepare
) -> None:
    prepare("Standard_NC12s_v3", apps="falcon-7b")
    reader.types("kubectl apply -f examples/inference/falcon-7b-transformers.yaml")
    workspace = reader.workspace(NAME)
    workspace.wait_serving()
    reader.types("kubectl apply -f examples/inference/falcon-7b-adapter.yaml")
    message = workspace.wait_reason("InferenceReady", "ImagePullError", 120)
    assert "<YOUR_IMAGE>" in message
