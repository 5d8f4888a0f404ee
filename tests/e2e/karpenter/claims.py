"""NodeClaims as a provisioner makes them, and what becomes of them."""

import json
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

#: Marks of a module whose tests need Karpenter; the first of them all builds it.
NEEDS_KARPENTER = [
    pytest.mark.serial,
    pytest.mark.usefixtures("karpenter"),
    pytest.mark.timeout(3600),
]

Kubectl = Callable[..., subprocess.CompletedProcess[str]]
Object = dict[str, Any]

TAINT = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}


def node_class_ref(name: str) -> Object:
    return {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": name}


def requirement(key: str, value: str) -> Object:
    return {"key": key, "operator": "In", "values": [value]}


@dataclass(frozen=True)
class Claim:
    """A NodeClaim that belongs to no NodePool."""

    kubectl: Kubectl
    name: str
    uid: str

    @classmethod
    def apply(
        cls, kubectl: Kubectl, instance_type: str, *, node_class: str = "default"
    ) -> "Claim":
        """Apply a claim for one node of an instance type."""
        name = f"claim-{uuid.uuid4().hex[:8]}"
        obj = {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": {
                "name": name,
                "labels": {"karpenter.sh/nodepool": "kaito", "apps": name},
                "annotations": {"karpenter.sh/do-not-disrupt": "true"},
            },
            "spec": {
                "nodeClassRef": node_class_ref(node_class),
                "requirements": [
                    requirement("node.kubernetes.io/instance-type", instance_type)
                ],
                "taints": [TAINT],
                "resources": {"requests": {"storage": "80Gi"}},
                "expireAfter": "Never",
            },
        }
        done = kubectl(
            *("apply", "--server-side", "-f", "-", "-o", "json"), stdin=json.dumps(obj)
        )
        return cls(kubectl, name, json.loads(done.stdout)["metadata"]["uid"])

    def wait_ready(self) -> None:
        """Wait until its node is there, Ready, with the resources asked for."""
        self._wait("condition=Ready")

    def wait_gone(self) -> None:
        """Wait until it is gone."""
        self._wait("delete")

    def delete(self, *options: str) -> None:
        """Delete it; whether it is still there does not matter."""
        self.kubectl("delete", "nodeclaim", self.name, "--ignore-not-found", *options)

    def condition(self, kind: str) -> Object:
        """The condition of a type, empty if there is none."""
        found = json.loads(
            self.kubectl("get", "nodeclaim", self.name, "-o", "json").stdout
        )
        conditions = found.get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def nodes(self) -> list[Object]:
        """The nodes made for it."""
        label = f"--selector=apps={self.name}"
        return list(
            json.loads(self.kubectl("get", "nodes", label, "-o", "json").stdout)[
                "items"
            ]
        )

    def warnings(self) -> list[Object]:
        """The warnings about it, which outlive it."""
        return list(
            json.loads(
                self.kubectl(
                    *("get", "events", "--namespace=default", "-o", "json"),
                    f"--field-selector=involvedObject.uid={self.uid},type=Warning",
                ).stdout
            )["items"]
        )

    def _wait(self, what: str) -> None:
        self.kubectl("wait", f"nodeclaim/{self.name}", f"--for={what}", "--timeout=60s")
