"""Three ways to come by nodes, as the tests of all three see them."""

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from tests.e2e.provisioners.azure import Azure, add_node
from tests.e2e.workspaces import Kubectl

INSTANCE_TYPE = "Standard_NC24ads_A100_v4"


class Maker(Protocol):
    """Where nodes come from."""

    provisioner: str
    #: What the operator is told of it.
    environ: Mapping[str, str]

    def prepare(self, selector: Mapping[str, str], count: int) -> None:
        """Let so many nodes be had for a selector, if somebody has to."""

    def there(self) -> list[str]:
        """Return what is there that somebody pays for."""


class Prepared:
    """Nodes that are there before anybody asks."""

    provisioner = "preferred_nodes"

    def __init__(self, kubectl: Kubectl) -> None:
        self.environ: Mapping[str, str] = {}
        self._kubectl = kubectl

    def prepare(self, selector: Mapping[str, str], count: int) -> None:
        for _ in range(count):
            name = f"prepared-{uuid.uuid4().hex[:8]}"
            labels = {
                **selector,
                "kubernetes.io/hostname": name,
                "node.kubernetes.io/instance-type": INSTANCE_TYPE,
            }
            allocatable = {"cpu": "24", "memory": "220Gi", "nvidia.com/gpu": "1"}
            status = {"allocatable": allocatable}
            node = {"metadata": {"name": name, "labels": labels}, "status": status}
            add_node(self._kubectl, node)

    def there(self) -> list[str]:
        return []


class Karpenter:
    """Karpenter's own objects, served by Karpenter itself with its kwok provider."""

    def __init__(self, kubectl: Kubectl, provisioner: str) -> None:
        self.provisioner = provisioner
        self.environ: Mapping[str, str] = {
            "KARPENTER_NODE_CLASS_GROUP": "karpenter.kwok.sh",
            "KARPENTER_NODE_CLASS_KIND": "KWOKNodeClass",
        }
        self._kubectl = kubectl

    def prepare(self, selector: Mapping[str, str], count: int) -> None:
        """Do nothing: Karpenter makes them."""

    def there(self) -> list[str]:
        return self._kubectl("get", "nodeclaims", "-o", "name").stdout.split()


class Aks:
    """Agent pools of the emulated Azure."""

    provisioner = "azure_arm"

    def __init__(self, azure: Azure) -> None:
        self.environ: Mapping[str, str] = azure.environ
        self.azure = azure

    def prepare(self, selector: Mapping[str, str], count: int) -> None:
        """Do nothing: Azure makes them."""

    def there(self) -> list[str]:
        return list(self.azure.cluster.pools)


@contextlib.contextmanager
def maker(kind: str, kubectl: Kubectl, folder: Path) -> Iterator[Maker]:
    """Yield one of them by the name of its provisioner."""
    if kind == Prepared.provisioner:
        yield Prepared(kubectl)
    elif kind == Aks.provisioner:
        with Azure(kubectl, folder).running() as azure:
            yield Aks(azure)
    else:
        yield Karpenter(kubectl, kind)


def workspace(
    name: str, provisioner: str, selector: Mapping[str, str]
) -> dict[str, Any]:
    """Return a Workspace whose node somebody has to come by."""
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": name,
            "annotations": {"kaito.sh/provisioner": provisioner},
        },
        "resource": {
            "count": 1,
            "instanceType": INSTANCE_TYPE,
            "labelSelector": {"matchLabels": dict(selector)},
        },
        "inference": {"preset": {"name": "phi-4-mini-instruct"}},
    }


def fake_nodes(kubectl: Kubectl, selector: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the nodes that carry a selector's labels."""
    pairs = ",".join(f"{key}={value}" for key, value in selector.items())
    listed = kubectl("get", "nodes", "-l", pairs, "-o", "json").stdout
    items: list[dict[str, Any]] = json.loads(listed)["items"]
    return items
