"""The command line tells of a real Workspace what its conditions say."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack import paths
from tests.e2e.workspaces import Applied, Kubectl

pytestmark = pytest.mark.usefixtures("operator")

Pykaito = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pykaito(kubeconfig: Path, namespace: str) -> Pykaito:
    """Run pykaito as a user whose kubeconfig is the cluster's."""

    def run(
        *arguments: str, stdin: str | None = None, credentials: Path = kubeconfig
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pykaito.cli", *arguments]
        if arguments[0] in {"status", "why"}:
            command += ["-n", namespace, "--kubeconfig", str(credentials)]
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def workspace(preset: str = "phi-2") -> dict[str, Any]:
    """Return a Workspace that no node of any cluster matches."""
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "told"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "told-by-the-cli"}}},
        "inference": {"preset": {"name": preset}},
    }


def test_status_shows_tree_and_conditions_and_says_not_ready(
    kubectl: Kubectl, namespace: str, pykaito: Pykaito
) -> None:
    Applied(kubectl, namespace, workspace()).wait_reason("Ready", "NoMatchingNode")
    done = pykaito("status", "told")
    assert done.returncode == 1, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert f"Workspace {namespace}/told" in lines
    assert "State Pending (NoMatchingNode)" in lines
    assert any(line.startswith("ResourceReady False NoMatchingNode") for line in lines)
    assert any(line.startswith("nodes ready now") for line in lines)
    assert lines[-1].startswith("Next: kubectl get nodes -L ")
    assert "\x1b" not in done.stdout


def test_why_names_the_link_and_a_command_that_works(
    kubectl: Kubectl, namespace: str, pykaito: Pykaito
) -> None:
    Applied(kubectl, namespace, workspace()).wait_reason("Ready", "NoMatchingNode")
    done = pykaito("why", "told")
    assert done.returncode == 1, done.stderr
    assert "is held up by Node" in done.stdout
    assert "NoMatchingNode: " in done.stdout
    command = done.stdout.partition("Next: kubectl ")[2].split()
    assert "APPS" in kubectl(*command).stdout


def test_a_watch_fails_on_what_only_a_person_can_mend(
    kubectl: Kubectl, namespace: str, pykaito: Pykaito, tmp_path: Path
) -> None:
    spec = workspace()
    spec["inference"]["config"] = "no-such"
    applied = Applied(kubectl, namespace, spec)
    done = pykaito("status", "told", "--watch", "--timeout", "60", "-o", "json")
    assert done.returncode == 1, done.stderr
    shown = json.loads(done.stdout)
    assert shown["outcome"] == "failed"
    assert shown["failing"]["reason"] == "ConfigNotFound"
    (new := tmp_path / "inference_config.yaml").write_text("vllm: {}")
    command = shown["next"].removeprefix("kubectl ").replace(new.name, str(new))
    kubectl(*command.split())
    applied.wait_reason("Ready", "NoMatchingNode")
    done = pykaito("status", "told", "--watch", "--timeout", "10")
    assert done.returncode == 2, done.stderr
    assert "NoMatchingNode" in done.stderr + done.stdout


def test_a_watch_ends_with_2_when_the_time_is_up(
    kubectl: Kubectl, namespace: str, pykaito: Pykaito
) -> None:
    Applied(kubectl, namespace, workspace()).wait_reason("Ready", "NoMatchingNode")
    done = pykaito("status", "told", "--watch", "--timeout", "10")
    assert done.returncode == 2, done.stderr
    assert "Pending: " in done.stderr


def test_a_workspace_that_does_not_exist_is_said_in_one_line(pykaito: Pykaito) -> None:
    done = pykaito("why", "no-such")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no Workspace 'no-such'")
    assert done.stderr.count("\n") == 1


def test_who_may_only_view_a_namespace_sees_all_but_the_nodes(
    kubectl: Kubectl, namespace: str, pykaito: Pykaito, kubeconfig: Path, tmp_path: Path
) -> None:
    applied = Applied(kubectl, namespace, workspace())
    applied.wait_reason("Ready", "NoMatchingNode")
    verbs = ("--verb=get,list", "--resource=workspaces.kaito.sh")
    applied.kubectl("create", "role", "reader", *verbs)
    applied.kubectl("create", "serviceaccount", "reader")
    account = f"--serviceaccount={namespace}:reader"
    applied.kubectl("create", "rolebinding", "reader", "--role=reader", account)
    token = applied.kubectl("create", "token", "reader").strip()
    done = pykaito("status", "told", credentials=as_bearer(kubeconfig, token, tmp_path))
    assert done.returncode == 1, done.stderr
    assert "Not shown: machines (not allowed to list machines.kaito.sh)" in done.stdout
    assert "Not shown: pods" in done.stdout
    assert "ResourceReady" in done.stdout


def as_bearer(admin: Path, token: str, folder: Path) -> Path:
    """Write the admin's kubeconfig with a token in place of the admin's rights."""
    config = yaml.safe_load(admin.read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_planned_objects_are_taken_by_the_api_server(
    kubectl: Kubectl, namespace: str, pykaito: Pykaito
) -> None:
    spec = json.dumps(workspace())
    planned = pykaito("plan", "-f", "-", "-n", namespace, "-o", "yaml", stdin=spec)
    assert planned.returncode == 0, planned.stderr
    told = kubectl("apply", "--dry-run=server", "-f", "-", stdin=planned.stdout).stdout
    assert "machine.kaito.sh/told-" in told
    assert "service/told created" in told
    assert "deployment.apps/told created" in told


def test_kubectl_finds_the_plugin(pykaito: Pykaito) -> None:
    folder = str(Path(sys.executable).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", folder, prepend=os.pathsep)
        # A plugin's name comes before all flags, so this one runs without any.
        done = subprocess.run(
            [paths.kubectl(), "kaito", "models", "-o", "name"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout == pykaito("models", "-o", "name").stdout, done.stderr
