"""`helm install` brings the operator, `helm uninstall` leaves what users made."""

import json
from pathlib import Path

import pytest

from hack.install import RELEASE, helm, install
from tests.e2e.workspaces import Applied, Kubectl, example

pytestmark = pytest.mark.serial


def test_the_operators_image_holds_no_torch(kubectl: Kubectl, operator: str) -> None:
    done = kubectl(
        *("exec", "-n", operator, "deployment/pykaito", "--"),
        *("python3", "-c", "import torch"),
        check=False,
    )
    assert "ModuleNotFoundError" in done.stderr


def test_the_operator_cannot_read_secrets(kubectl: Kubectl, operator: str) -> None:
    account = f"system:serviceaccount:{operator}:pykaito"
    done = kubectl(
        "auth", "can-i", "get", "secrets", "-A", "--as", account, check=False
    )
    assert done.stdout.strip() == "no"


@pytest.mark.parametrize(
    ("name", "label", "refused"),
    [
        ("small-adapters", "kaito.sh/workspace", False),
        ("small-adapters", "app", True),
        ("coredns", "kaito.sh/workspace", True),
    ],
)
def test_the_operator_can_write_no_config_maps_but_its_own(
    kubectl: Kubectl,
    operator: str,
    namespace: str,
    name: str,
    label: str,
    refused: bool,
) -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {label: "small"}},
    }
    done = kubectl(
        *("create", "-n", namespace, "-f", "-"),
        *("--as", f"system:serviceaccount:{operator}:pykaito"),
        stdin=json.dumps(obj),
        check=False,
    )
    assert ("lists of adapters" in done.stderr) == refused == (done.returncode != 0)


def test_the_operator_cannot_take_over_a_config_map(
    kubectl: Kubectl, operator: str, namespace: str
) -> None:
    kubectl("create", "-n", namespace, "configmap", "their-adapters")
    done = kubectl(
        *("label", "-n", namespace, "configmap", "their-adapters"),
        *("kaito.sh/workspace=small", "--as"),
        f"system:serviceaccount:{operator}:pykaito",
        check=False,
    )
    assert "lists of adapters" in done.stderr


def test_the_operator_brings_back_the_label_of_a_list_of_adapters(
    kubectl: Kubectl, operator: str, namespace: str
) -> None:
    applied = Applied(kubectl, namespace, example("falcon-7b.yaml"))
    workspace = json.loads(
        applied.kubectl("get", "workspace", applied.name, "-o", "json")
    )
    owner = {key: workspace[key] for key in ("apiVersion", "kind")}
    owner |= {key: workspace["metadata"][key] for key in ("name", "uid")}
    metadata = {"name": "small-adapters", "ownerReferences": [owner]}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(obj))
    kubectl(
        *("label", "-n", namespace, "configmap", "small-adapters"),
        *("kaito.sh/workspace=small", "--as"),
        f"system:serviceaccount:{operator}:pykaito",
    )


def test_uninstalling_leaves_workspaces_and_crds_and_installing_takes_them_up(
    kubectl: Kubectl,
    kubeconfig: Path,
    operator: str,
    images: dict[str, str],
    namespace: str,
) -> None:
    applied = Applied(kubectl, namespace, example("falcon-7b.yaml"))
    applied.wait_reason("ResourceReady", "NoMatchingNode")
    helm(kubeconfig, "uninstall", RELEASE, "--namespace", operator, "--wait")
    listed = json.loads(kubectl("get", "crds", "-o", "json").stdout)["items"]
    crds = {crd["metadata"]["name"] for crd in listed}
    assert {"workspaces.kaito.sh", "machines.kaito.sh"} <= crds
    assert applied.name in applied.kubectl("get", "workspaces", "-o", "name")
    install(kubeconfig, images)
    applied.kubectl("delete", "workspace", applied.name, "--timeout=60s")
