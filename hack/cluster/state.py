"""Where the cluster keeps its files: everything under one directory."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class State:
    """The state directory and the names in it.

    Attributes:
        root: The directory, `.cluster` in the repository's root.
    """

    root: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def environment(self) -> Path:
        """What tests and scripts need to know about the cluster, as JSON."""
        return self.root / "env.json"

    @property
    def audit_log(self) -> Path:
        """Every request to the API server, one JSON object per line."""
        return self.root / "audit.log"

    @property
    def bin(self) -> Path:
        """Links to the tools in use, and the pause program."""
        return self.root / "bin"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.root / "logs"

    @property
    def pids(self) -> Path:
        """One file per process, see process.py."""
        return self.root / "pids"

    def directory(self, *parts: str) -> Path:
        """A directory below the root, made if it is not there."""
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, text: str, *, mode: int = 0o644) -> Path:
        """Write a file below the root, making its directory."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=mode)
        path.write_text(text)
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file below the root."""
        return self.write(name, json.dumps(value, indent=2) + "\n")


LOCAL = State(REPOSITORY / ".cluster")
