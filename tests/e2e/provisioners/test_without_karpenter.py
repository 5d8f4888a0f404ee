"""A cluster that has never heard of Karpenter, until it has."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.local_operator import LocalOperator, alone
from tests.e2e.provisioners.makers import Karpenter, Prepared, workspace
from tests.e2e.workspaces import Applied, Kubectl

pytestmark = [pytest.mark.serial, pytest.mark.timeout(3600)]


@pytest.fixture
def operator_process(
    kubectl: Kubectl, kubeconfig: Path, tmp_path: Path
) -> Iterator[LocalOperator]:
    crds = kubectl("get", "crd", "nodeclaims.karpenter.sh", "--ignore-not-found")
    assert not crds.stdout, "Karpenter is there, left by `hack.cluster.karpenter up`"
    environ = Karpenter(kubectl, "karpenter").environ
    process = LocalOperator(kubeconfig, tmp_path / "log", (), environ)
    with alone(kubectl), process.running():
        yield process


@pytest.mark.usefixtures("operator_process")
def test_the_operator_says_what_is_missing_and_goes_on_when_it_comes(
    request: pytest.FixtureRequest, kubectl: Kubectl, namespace: str
) -> None:
    """It serves other provisioners meanwhile, and deletes what cannot be served."""
    wanted = workspace("by-karpenter", "karpenter", {"apps": "by-karpenter"})
    waiting = Applied(kubectl, namespace, wanted)
    told = waiting.wait_reason("ResourceReady", "ProvisionerNotInstalled")
    assert "nodeclaims.karpenter.sh" in told
    assert "kaito.sh/provisioner" in told

    gone = Applied(kubectl, namespace, workspace("gone", "karpenter", {"apps": "gone"}))
    gone.wait_reason("ResourceReady", "ProvisionerNotInstalled")
    gone.kubectl("delete", "workspace", gone.name, "--timeout=30s")
    assert gone.get("machines") == []

    Prepared(kubectl).prepare({"apps": "prepared"}, 1)
    other = workspace("prepared", "preferred_nodes", {"apps": "prepared"})
    prepared = Applied(kubectl, namespace, other)
    try:
        # Its kubelet is not played before Karpenter's stand-ins are there, so it is
        # found, and told to be not Ready.
        (machine,) = wait_machine(prepared)
        assert machine["spec"]["nodeName"].startswith("prepared-")

        request.getfixturevalue("karpenter")
        waiting.wait("condition=Ready=True", 120)
        prepared.wait("condition=Ready=True", 60)
    finally:
        for each in (waiting, prepared):
            each.kubectl("delete", "workspace", each.name, "--timeout=60s")
        kubectl("delete", "nodes", "-l", "apps=prepared", "--wait=false")


def wait_machine(applied: Applied) -> list[dict[str, object]]:
    applied.kubectl(
        *("wait", "machines", "-l", f"kaito.sh/workspace={applied.name}"),
        *("--for=create", "--timeout=60s"),
    )
    return applied.get("machines")
