"""What people and tools see of the kinds: tables, explanations, defaults."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.crds.waiting import wait_established

ROOT = Path(__file__).parents[3]
PUBLISHED = Path(__file__).with_name("published_workspaces.yaml")
EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))
TABLE = [
    "NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY", "JOBSTARTED",
    "WORKSPACESUCCEEDED", "AGE",
]  # fmt: skip

Kubectl = Callable[..., Any]
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def workspace(kubectl: Kubectl, make: Make, namespace: str) -> str:
    """Store a Workspace; return its namespace."""
    kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(make("inference")))
    return namespace


@pytest.mark.parametrize("crd", ["workspaces.kaito.sh", "machines.kaito.sh"])
def test_the_crds_are_established_and_structural(kubectl: Kubectl, crd: str) -> None:
    conditions = json.loads(kubectl("get", "crd", crd, "-o", "json").stdout)
    by_type = {c["type"]: c["status"] for c in conditions["status"]["conditions"]}
    assert by_type["Established"] == "True"
    assert "NonStructuralSchema" not in by_type


@pytest.mark.parametrize(
    "resource",
    ["workspace", "wk", "wks", "workspaces.v1alpha1.kaito.sh"],
)
def test_get_prints_the_table_that_users_know(
    kubectl: Kubectl, workspace: str, resource: str
) -> None:
    table = kubectl("get", resource, "-n", workspace).stdout.splitlines()
    assert table[0].split() == TABLE
    assert table[1].split()[:2] == ["falcon", "Standard_NC24ads_A100_v4"]


@pytest.mark.parametrize(
    ("resource", "added"),
    [
        ("workspaces.v1alpha1.kaito.sh", []),
        ("workspaces.v1beta1.kaito.sh", ["TARGETNODECOUNT", "STATE"]),
    ],
)
def test_get_wide_adds_what_sums_up_the_workspace(
    kubectl: Kubectl, workspace: str, resource: str, added: list[str]
) -> None:
    table = kubectl("get", resource, "-n", workspace, "-o", "wide").stdout.splitlines()
    assert table[0].split() == [*TABLE, "READY", "REASON", "URL", *added]


@pytest.fixture
def unwatched(kubectl: Kubectl, make: Make, namespace: str) -> Iterator[str]:
    """Store a Workspace under another name, so that no operator writes its status.

    Its CRD is the same but for group and names. Returns what kubectl calls it.
    """
    group = f"{namespace}.example.com"
    crd = yaml.safe_load((ROOT / "manifests/crds/kaito.sh_workspaces.yaml").read_text())
    crd["metadata"]["name"] = f"spares.{group}"
    crd["spec"]["group"] = group
    crd["spec"]["names"] = {"kind": "Spare", "plural": "spares"}
    kubectl("create", "-f", "-", stdin=json.dumps(crd))
    wait_established(kubectl, f"crd/spares.{group}")
    spare = make("inference", {"apiVersion": f"{group}/v1beta1", "kind": "Spare"})
    kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(spare))
    yield f"spares.{group}/falcon"
    kubectl("delete", "crd", f"spares.{group}", "--wait=false")


def test_get_prints_what_the_status_says(
    kubectl: Kubectl, namespace: str, unwatched: str
) -> None:
    when = "2026-01-01T00:00:00Z"
    types = ("ResourceReady", "InferenceReady", "WorkspaceSucceeded", "Ready")
    status = {
        "state": "Ready",
        "url": "http://falcon.default.svc",
        "targetNodeCount": 2,
        "conditions": [
            {"type": t, "status": "True", "reason": f"{t}Reason", "message": "",
             "lastTransitionTime": when}
            for t in types
        ],
    }  # fmt: skip
    patch = json.dumps({"status": status})
    kubectl("patch", unwatched, "-n", namespace, "--subresource=status",
            "--type=merge", "-p", patch)  # fmt: skip
    row = kubectl("get", unwatched, "-n", namespace, "-o", "wide", "--no-headers")
    fields = row.stdout.split()
    assert fields[2:5] == ["True", "True", "True"]
    assert fields[-5:] == [
        "True", "ReadyReason", "http://falcon.default.svc", "2", "Ready",
    ]  # fmt: skip


def test_get_prints_machines_as_karpenter_does(
    kubectl: Kubectl, make: Make, namespace: str
) -> None:
    kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(make("machine")))
    header = kubectl("get", "machines.kaito.sh", "-n", namespace).stdout.splitlines()[0]
    assert header.split() == ["NAME", "TYPE", "NODE", "READY", "AGE"]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("workspace.resource.preferredNodes", "Names of prepared nodes"),
        ("workspace.inference.preset.name", "A model of the catalogue"),
        ("workspace.status.state", "Pending, Ready or NotReady"),
        ("machines.spec.matchLabels", "Labels that the node must carry"),
    ],
)
def test_explain_explains(kubectl: Kubectl, field: str, words: str) -> None:
    group = "--api-version=kaito.sh/v1alpha1"
    assert words in " ".join(kubectl("explain", field, group).stdout.split())


def test_what_is_left_out_gets_its_default(
    kubectl: Kubectl, namespace: str, unwatched: str
) -> None:
    done = kubectl("get", unwatched, "-n", namespace, "-o", "json")
    stored = json.loads(done.stdout)
    assert stored["resource"]["count"] == 1
    assert stored["inference"]["preset"]["accessMode"] == "public"
    assert stored["status"] == {"observedGeneration": -1}


def test_a_field_that_is_unknown_is_refused_by_strict_clients(
    kubectl: Kubectl, make: Make
) -> None:
    document = json.dumps(make("inference", {"resource.preferedNodes": ["gpu-1"]}))
    done = kubectl("create", "--dry-run=server", "-f", "-", stdin=document, check=False)
    assert 'unknown field "resource.preferedNodes"' in done.stderr


def test_both_versions_show_one_object(
    kubectl: Kubectl, namespace: str, unwatched: str
) -> None:
    def read(version: str) -> Any:
        name = unwatched.replace("spares.", f"spares.{version}.")
        return json.loads(kubectl("get", name, "-n", namespace, "-o", "json").stdout)

    old, new = read("v1alpha1"), read("v1beta1")
    assert old.pop("apiVersion") != new.pop("apiVersion")
    assert old == new


def test_published_workspaces_apply_unchanged(kubectl: Kubectl, namespace: str) -> None:
    applied = kubectl("apply", "-n", namespace, "-f", str(PUBLISHED)).stdout
    assert applied.count("created") == PUBLISHED.read_text().count("kind: Workspace")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_applies(kubectl: Kubectl, namespace: str, example: Path) -> None:
    kubectl("apply", "--dry-run=server", "-n", namespace, "-f", str(example))
