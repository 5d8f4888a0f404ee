"""Tools that wait for a Workspace go on when it serves, and give up when it cannot."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import kstatus
from tests.e2e.recording import Object, Recording
from tests.e2e.workspaces import Applied, Kubectl
from tests.kstatus import Reading

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(600)]


def workspace(node: str, image: str) -> dict[str, Any]:
    """Return a Workspace whose pod is ready as soon as it runs."""
    container = {
        "name": "main",
        "image": image,
        "command": ["sleep", "3600"],
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "awaited"},
        "resource": {
            "preferredNodes": [node],
            "labelSelector": {"matchLabels": {}},
        },
        "inference": {"template": {"spec": spec}},
    }


def test_every_version_of_a_workspace_is_read_as_what_it_is(
    kubectl: Kubectl,
    kubeconfig: Path,
    namespace: str,
    gpu_node: str,
    images: dict[str, str],
) -> None:
    obj = workspace(gpu_node, images["transformers"])
    (container,) = obj["inference"]["template"]["spec"]["containers"]
    with Recording(kubeconfig, namespace, ["workspaces"]) as seen:
        applied = Applied(kubectl, namespace, obj)
        applied.wait("condition=Ready=True", 300)
        # kubectl's watch may be ahead of this one.
        seen.first("workspaces", is_current, within=60)
        served = len(seen.versions("workspaces"))
        # Nobody may pull it and the node has none: waiting is in vain.
        container |= {"image": "registry.invalid/x:1", "imagePullPolicy": "Never"}
        applied.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
        applied.wait("condition=Stalled=True", 120)
        container |= {"image": images["transformers"], "imagePullPolicy": "Always"}
        applied.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
        applied.wait("condition=Ready=True", 120)
        applied.kubectl("delete", "workspace", "awaited", "--timeout=60s")
        seen.first("workspaces", is_leaving, within=60)
        versions = seen.versions("workspaces")
    kstatus.check(versions)
    readings = [kstatus.read(version) for version in versions]
    assert readings[0] is Reading.IN_PROGRESS
    assert turns(readings[:served]) == [Reading.IN_PROGRESS, Reading.CURRENT]
    assert turns(readings) == [
        Reading.IN_PROGRESS,
        Reading.CURRENT,
        Reading.IN_PROGRESS,
        Reading.FAILED,
        Reading.IN_PROGRESS,
        Reading.CURRENT,
        Reading.TERMINATING,
    ]


def is_current(obj: Object) -> bool:
    return kstatus.read(obj) is Reading.CURRENT


def is_leaving(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def turns(readings: list[Reading]) -> list[Reading]:
    """Return the readings without what repeats the one before."""
    return [
        reading
        for number, reading in enumerate(readings)
        if number == 0 or readings[number - 1] is not reading
    ]
