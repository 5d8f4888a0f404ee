"""The CRDs as a cluster holds them, and Workspaces to try on them."""

import copy
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.crds.waiting import wait_established

CRDS = Path(__file__).parents[3] / "manifests" / "crds"


Kubectl = Callable[..., subprocess.CompletedProcess[str]]
Make = Callable[..., dict[str, Any]]

BASE: Mapping[str, Any] = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "falcon"},
    "resource": {
        "instanceType": "Standard_NC24ads_A100_v4",
        "labelSelector": {"matchLabels": {"apps": "falcon-7b"}},
    },
}
INFERENCE: Mapping[str, Any] = {
    **BASE,
    "inference": {"preset": {"name": "falcon-7b"}},
}
TUNING: Mapping[str, Any] = {
    **BASE,
    "tuning": {
        "preset": {"name": "falcon-7b"},
        "method": "lora",
        "input": {"urls": ["https://example.com/data.parquet"]},
        "output": {"image": "registry.example.com/tuned:1", "imagePushSecret": "push"},
    },
}

MACHINE: Mapping[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Machine",
    "metadata": {"name": "falcon-0"},
    "spec": {"provisioner": "karpenter", "instanceType": "Standard_NC24ads_A100_v4"},
}
SORTS: Mapping[str, Mapping[str, Any]] = {
    "inference": INFERENCE,
    "tuning": TUNING,
    "machine": MACHINE,
}


@pytest.fixture(scope="session", autouse=True)
def crds(kubectl: Kubectl) -> None:
    """The CRDs of the working tree are installed and served."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    wait_established(kubectl, "-f", str(CRDS))


@pytest.fixture(scope="session")
def make() -> Make:
    """Make a valid object of a sort, with dotted paths changed; None removes one."""

    def make(sort: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result = copy.deepcopy(dict(SORTS[sort]))
        for path, value in (changes or {}).items():
            *parents, last = path.split(".")
            target = result
            for parent in parents:
                target = target.setdefault(parent, {})
            if value is None:
                del target[last]
            else:
                target[last] = value
        return result

    return make
