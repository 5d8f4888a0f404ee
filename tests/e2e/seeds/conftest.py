"""What a document's reader has: a shell, its files, and a prepared GPU node."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.images.catalogue import CURL
from hack.images.delivery import deliver
from tests.e2e.seeds.reader import Prepare, Reader, Readers
from tests.e2e.workspaces import Kubectl

DOCUMENTS = Path(__file__).parent / "documents"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"


@pytest.fixture(scope="module")
def reader_of(
    kubectl: Kubectl, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Readers]:
    """Make a reader of a document, by its name."""
    made = []
    deliver(CURL)

    def make(document: str) -> Reader:
        namespace = f"seeds-{uuid.uuid4().hex[:8]}"
        kubectl("create", "namespace", namespace)
        made.append(namespace)
        folder = tmp_path_factory.mktemp(document)
        shutil.copytree(DOCUMENTS / document, folder / "examples" / "inference")
        return Reader(kubectl, kubeconfig, folder, namespace)

    yield make
    for namespace in made:
        kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def prepare(kubectl: Kubectl, gpu_node: str) -> Iterator[Prepare]:
    """Prepare the GPU node as a document has it: of an instance type, labelled.

    The node has again the labels that it had when the module is done.
    """
    read = ("get", "node", gpu_node, "-o", "json")
    before = json.loads(kubectl(*read).stdout)["metadata"]["labels"]
    touched: set[str] = set()

    def label(instance_type: str, **labels: str) -> None:
        wanted = {INSTANCE_TYPE: instance_type, **labels}
        touched.update(wanted)
        pairs = [f"{key}={value}" for key, value in wanted.items()]
        kubectl("label", "node", gpu_node, "--overwrite", *pairs)

    yield label
    restored = [f"{k}={before[k]}" if k in before else f"{k}-" for k in sorted(touched)]
    if restored:
        kubectl("label", "node", gpu_node, "--overwrite", *restored)
