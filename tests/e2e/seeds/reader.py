"""Someone who reads a document and types what it says."""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack import paths
from tests.e2e.workspaces import Kubectl, Live

#: How often a command is tried whose output may be lost: `kubectl run -it` shows
#: nothing of a pod that ended between its start and kubectl's attaching to it.
ATTEMPTS = 4

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Reader:
    """Someone who types what a document says, in a namespace of their own.

    Attributes:
        folder: Where they are; it holds the document's files.
        namespace: Where their kubectl works.
    """

    def __init__(
        self, kubectl: Kubectl, kubeconfig: Path, folder: Path, namespace: str
    ) -> None:
        self._kubectl = kubectl
        self.folder = folder
        self.namespace = namespace
        config = yaml.safe_load(kubeconfig.read_text())
        for context in config["contexts"]:
            context["context"]["namespace"] = namespace
        own = folder / "kubeconfig"
        own.touch(mode=0o600)
        own.write_text(yaml.safe_dump(config))
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "kubectl").symlink_to(paths.kubectl())
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(own),
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        }

    def export(self, name: str, value: str) -> None:
        """Set a variable for the commands that follow."""
        self._environment[name] = value

    def types(self, command: str, *, check: bool = True, timeout: float = 180) -> str:
        """Run a command as it is written; return what it printed."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def types_on_terminal(self, command: str, timeout: float = 180) -> str:
        """Run a command on a terminal; return what that showed, less its colours."""
        done = subprocess.run(
            ["script", "--quiet", "--return", "--command", command, "/dev/null"],
            cwd=self.folder,
            env=self._environment | {"SHELL": "/bin/bash"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return COLOUR.sub("", done.stdout).replace("\r\n", "\n")

    def asks(self, command: str) -> dict[str, Any]:
        """Run a command of a temporary pod; return the JSON in what it shows."""
        shown = ""
        for _ in range(ATTEMPTS):
            shown = self.types_on_terminal(command)
            first, last = shown.find("{"), shown.rfind("}")
            if first >= 0:
                with contextlib.suppress(json.JSONDecodeError):
                    found: dict[str, Any] = json.loads(shown[first : last + 1])
                    return found
        pytest.fail(f"{command}\nshowed no JSON:\n{shown}")

    def workspace(self, name: str) -> Live:
        """Return a Workspace that they made."""
        return Live(self._kubectl, self.namespace, name)


Readers = Callable[[str], Reader]
Prepare = Callable[..., None]
