"""The same Workspace by every provisioner: made, scaled, repaired, given back."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from tests.e2e.provisioners.makers import Maker, fake_nodes, workspace
from tests.e2e.workspaces import Applied, Kubectl

pytestmark = [pytest.mark.serial, pytest.mark.timeout(3600)]

#: From the asking to a node, and from a node to a pod that serves; and as much for a
#: node that has to be replaced after a pause.
READY_SECONDS = 120


@dataclass
class Story:
    """A Workspace, and the nodes that carry its labels."""

    applied: Applied
    maker: Maker
    selector: dict[str, str]
    kubectl: Kubectl

    def nodes(self) -> list[str]:
        found = fake_nodes(self.kubectl, self.selector)
        return sorted(node["metadata"]["name"] for node in found)

    def worker_nodes(self) -> list[str]:
        status = self.applied.kubectl(
            *("get", "workspace", self.applied.name, "-o", "jsonpath={.status}")
        )
        return list(json.loads(status).get("workerNodes", ()))

    def scale(self, count: int) -> None:
        patch = json.dumps({"resource": {"count": count}})
        name = self.applied.name
        self.applied.kubectl("patch", "workspace", name, "--type=merge", "-p", patch)

    def wait_serving(self, count: int) -> None:
        """Wait until so many nodes serve, as the spec is now."""
        self.applied.wait(f"jsonpath={{.status.targetNodeCount}}={count}")
        self.applied.wait("condition=Ready=True", READY_SECONDS)
        assert len(self.worker_nodes()) == count


@pytest.fixture
def story(nodes_by: Maker, kubectl: Kubectl, namespace: str) -> Iterator[Story]:
    selector = {"apps": f"story-{uuid.uuid4().hex[:8]}"}
    nodes_by.prepare(selector, 3)
    obj = workspace(selector["apps"], nodes_by.provisioner, selector)
    applied = Applied(kubectl, namespace, obj)
    yield Story(applied, nodes_by, selector, kubectl)
    applied.kubectl("delete", "workspace", applied.name, "--ignore-not-found")
    for node in fake_nodes(kubectl, selector):
        name = node["metadata"]["name"]
        kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")


def test_a_workspace_gets_a_node_serves_and_gives_it_back(story: Story) -> None:
    before = len(story.maker.there())
    story.wait_serving(1)
    (machine,) = story.applied.get("machines")
    (node,) = story.worker_nodes()
    assert machine["status"]["nodeName"] == node
    assert machine["status"]["phase"] == "Ready"
    story.applied.kubectl("delete", "workspace", story.applied.name, "--timeout=120s")
    assert len(story.maker.there()) <= before
    if story.maker.provisioner == "preferred_nodes":
        assert len(story.nodes()) == 3
    else:
        assert node not in story.nodes()


def test_more_nodes_are_made_and_those_too_many_given_back(story: Story) -> None:
    story.wait_serving(1)
    (first,) = story.worker_nodes()
    story.scale(3)
    story.wait_serving(3)
    assert first in story.worker_nodes()
    story.scale(1)
    story.wait_serving(1)
    assert story.worker_nodes() == [first]
    if story.maker.provisioner != "preferred_nodes":
        assert left(story) == [first]


def test_a_lost_node_is_replaced(story: Story) -> None:
    story.wait_serving(1)
    (lost,) = story.worker_nodes()
    uid = node_uid(story, lost)
    # Nothing of it is left to shut down: the machine is gone.
    story.kubectl(
        *("patch", "node", lost, "--type=merge"),
        *("-p", '{"metadata": {"finalizers": null}}'),
        check=False,
    )
    story.kubectl("delete", "node", lost, "--wait=false")
    assert replaced(story, uid)
    story.wait_serving(1)
    (machine,) = story.applied.get("machines")
    assert "lastFailure" not in machine["status"]


def _is_false(answer: object) -> bool:
    return not answer


@retry(
    stop=stop_after_delay(READY_SECONDS),
    wait=wait_fixed(1),
    retry=retry_if_result(_is_false),
)
def replaced(story: Story, lost: str) -> bool:
    """Wait until the Workspace has a node that is there and not the lost one."""
    nodes = story.worker_nodes()
    return bool(nodes) and node_uid(story, nodes[0]) not in {"", lost}


@retry(
    stop=stop_after_delay(60),
    wait=wait_fixed(1),
    retry=retry_if_result(lambda names: len(names) > 1),
)
def left(story: Story) -> list[str]:
    """Wait until one node is left; return its name."""
    return story.nodes()


def node_uid(story: Story, node: str) -> str:
    return story.kubectl(
        "get", "node", node, "-o", "jsonpath={.metadata.uid}", "--ignore-not-found"
    ).stdout
