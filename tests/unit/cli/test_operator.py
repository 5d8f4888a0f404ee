"""What keeps the operator from starting is one line of its log."""

import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: a, user: {token: secret}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
current-context: a
"""


def run(*arguments: str) -> tuple[int, dict[str, str]]:
    """Run the operator as a process of its own: it configures logs and signals."""
    command = [sys.executable, "-m", "pykaito.cli", "operator", *arguments]
    ended = subprocess.run(
        [*command, "--vllm-image=y", "--transformers-image=x"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    *_, last = (ended.stdout + ended.stderr).strip().splitlines()
    return ended.returncode, orjson.loads(last)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    return path


def test_missing_credentials_are_named(tmp_path: Path) -> None:
    code, line = run(f"--kubeconfig={tmp_path / 'absent'}")
    assert (code, line["event"]) == (1, "cannot run")
    assert "absent" in line["error"]


def test_a_port_that_is_taken_is_named(kubeconfig: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = run(
            f"--kubeconfig={kubeconfig}", f"--metrics-port={port}", "--no-leader-elect"
        )
    assert (code, line["event"]) == (1, "cannot run")
    assert str(port) in line["error"]


def test_an_address_with_a_password_is_refused_and_not_shown() -> None:
    """Model servers get it, and conditions of Workspaces name it."""
    command = [
        sys.executable,
        "-m",
        "pykaito.cli",
        "operator",
        "--vllm-image=y",
        "--transformers-image=x",
    ]
    ended = subprocess.run(
        [*command, "--hub-endpoint=https://me:hunter2@mirror.example/hf"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2
    assert b"--hub-endpoint" in ended.stderr
    assert b"hunter2" not in ended.stdout + ended.stderr
