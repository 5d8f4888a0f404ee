"""Many Workspaces at once with Karpenter, the operator killed again and again."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.local_operator import LocalOperator, alone
from tests.e2e.provisioners.audit import Audit
from tests.e2e.provisioners.makers import Karpenter, workspace
from tests.e2e.recording import Recording
from tests.e2e.workspaces import Kubectl

pytestmark = [
    pytest.mark.serial,
    pytest.mark.timeout(3600),
    pytest.mark.usefixtures("karpenter"),
]

#: `make soak` asks for 200, and ten kills.
WORKSPACES = int(os.environ.get("SOAK_WORKSPACES", "20"))
KILLS = int(os.environ.get("SOAK_OPERATOR_KILLS", "3"))
#: For each Workspace, and for all of them whatever their number, on two busy cores.
SECONDS_EACH, SECONDS_ALL = 5, 180


@pytest.fixture
def operator_process(
    kubectl: Kubectl, kubeconfig: Path, tmp_path: Path
) -> Iterator[LocalOperator]:
    environ = Karpenter(kubectl, "karpenter").environ
    options = ("--max-machines=1000", "--provisioner=karpenter")
    with alone(kubectl):
        process = LocalOperator(kubeconfig, tmp_path / "log", options, environ)
        yield process
        process.stop()


def names(kubectl: Kubectl, kind: str, *options: str) -> list[str]:
    return kubectl("get", kind, "-o", "name", *options).stdout.split()


def until(holds: Callable[[], bool], what: str) -> float:
    """Wait until it holds; return the seconds that it took."""
    began = time.monotonic()
    while not holds():
        waited = time.monotonic() - began
        assert waited < SECONDS_ALL + SECONDS_EACH * WORKSPACES, what
        time.sleep(1)
    return time.monotonic() - began


def test_each_gets_one_node_however_often_the_operator_dies(
    kubectl: Kubectl,
    kubeconfig: Path,
    namespace: str,
    operator_process: LocalOperator,
) -> None:
    audit = Audit()
    with Recording(kubeconfig, namespace, ("nodeclaims", "machines")) as recording:
        made_and_given_back(kubectl, namespace, operator_process)
    for kind in ("nodeclaims", "machines"):
        uids = {obj["metadata"]["uid"] for obj in recording.versions(kind)}
        assert len(uids) == WORKSPACES, kind
        created = audit.created(kind)
        assert len(created) == len(set(created)), "one was made twice"
        assert len(audit.asked_for(kind)) == WORKSPACES, kind


def made_and_given_back(
    kubectl: Kubectl, namespace: str, operator_process: LocalOperator
) -> None:
    """Have a node for each Workspace, and none in the end; kill the operator."""
    rng = random.Random(20261129)  # noqa: S311 - a seed, no secret
    wanted = [f"many-{number}" for number in range(WORKSPACES)]
    objects = [workspace(name, "karpenter", {"apps": name}) for name in wanted]
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    operator_process.start()
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(listed), timeout=600)
    # Each time it is killed with some more claims there than before, so in the middle
    # of making them: at a moment that is drawn.
    for kill in range(KILLS):
        some = min(WORKSPACES, round((kill + rng.random()) * WORKSPACES / KILLS))
        until(lambda some=some: len(claims(kubectl)) >= some, "claims are made")
        operator_process.kill()
        operator_process.start()
    until(lambda: all_ready(kubectl, namespace), "every Workspace has its node")
    assert len(claims(kubectl)) == WORKSPACES
    assert len(nodes(kubectl)) == WORKSPACES
    gone = ("delete", "workspaces", "--all", "-n", namespace, "--wait=false")
    kubectl(*gone, timeout=600)
    until(lambda: len(claims(kubectl)) <= WORKSPACES // 2, "claims are given back")
    operator_process.kill()
    operator_process.start()
    until(lambda: not names(kubectl, "workspaces", "-n", namespace), "all are gone")
    assert claims(kubectl) == []
    assert nodes(kubectl) == []


def all_ready(kubectl: Kubectl, namespace: str) -> bool:
    path = '{.items[*].status.conditions[?(@.type=="ResourceReady")].status}'
    found = kubectl("get", "workspaces", "-n", namespace, "-o", f"jsonpath={path}")
    return found.stdout.split().count("True") == WORKSPACES


def claims(kubectl: Kubectl) -> list[str]:
    return names(kubectl, "nodeclaims")


def nodes(kubectl: Kubectl) -> list[str]:
    return names(kubectl, "nodes", "-l", "kaito.sh/machine")
