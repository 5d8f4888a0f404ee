"""An operator of the tests' own, told of one provisioner after another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.local_operator import LocalOperator, alone
from tests.e2e.provisioners.makers import Maker, maker
from tests.e2e.workspaces import Kubectl

MAKERS = ("preferred_nodes", "karpenter", "karpenter_nodepool", "azure_arm")

#: A lost node is replaced within seconds, so that tests need not wait.
IMPATIENT = ("--node-timeout=5", "--max-machines=500")


@pytest.fixture(scope="module", params=MAKERS)
def nodes_by(
    request: pytest.FixtureRequest,
    karpenter: None,
    kubectl: Kubectl,
    kubeconfig: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Maker]:
    """A provisioner and an operator that knows where it is."""
    del karpenter
    folder = tmp_path_factory.mktemp(request.param)
    with alone(kubectl), maker(request.param, kubectl, folder) as made:
        log = folder / "operator.log"
        local = LocalOperator(kubeconfig, log, IMPATIENT, made.environ)
        with local.running():
            yield made
