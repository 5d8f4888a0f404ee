"""Image registries inside the cluster: one open, one that asks for a password.

Both are Debian's docker-registry, under addresses that mean the same to the host
and to the nodes, so a pushed image is pulled by the name it was pushed as. They
speak plain HTTP: `skopeo` and `buildah` want to be told, see `insecure_flags`.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster.commands import answers, run
from hack.cluster.progress import step
from hack.cluster.sandbox import Sandbox
from hack.cluster.state import State
from hack.cluster.topology import CONTROL_PLANE_ADDRESS

OPEN = f"{CONTROL_PLANE_ADDRESS}:5000"
PROTECTED = f"{CONTROL_PLANE_ADDRESS}:5001"
ADDRESSES = (OPEN, PROTECTED)

_USER = "pykaito"
_START_TIMEOUT = 60.0


def insecure_flags(address: str) -> tuple[str, ...]:
    """What `buildah push` and `skopeo copy --dest-…` need to push to an address."""
    return ("--tls-verify=false",) if address in ADDRESSES else ()


@dataclass(frozen=True)
class Registries:
    """The two registries.

    Attributes:
        state: The cluster's state.
        machine: Where they run.
    """

    state: State
    machine: Sandbox

    def ensure(self) -> None:
        """Start the registries that do not run."""
        self._ensure("registry", OPEN, {})
        self._ensure("registry-protected", PROTECTED, self._authentication())

    def has(self, repository: str, tag: str) -> bool:
        """Whether the open registry holds an image."""
        url = f"http://{OPEN}/v2/{repository}/manifests/{tag}"
        return answers(url, accept="application/vnd.oci.image.manifest.v1+json")

    @property
    def credentials(self) -> Path:
        """The protected registry's address, user and password, as JSON."""
        return self.state.root / "registry-auth.json"

    def _ensure(self, name: str, address: str, auth: dict[str, Any]) -> None:
        config = self.state.write_json(
            f"{name}.json",
            {
                "version": 0.1,
                "log": {"level": "warn", "accesslog": {"disabled": True}},
                "storage": {
                    "filesystem": {
                        "rootdirectory": str(self.state.directory("images", name))
                    },
                    "delete": {"enabled": True},
                },
                "http": {"addr": address},
                "auth": auth,
            },
        )
        process, started = self.machine.ensure_process(
            name, ("docker-registry", "serve", str(config))
        )
        if started:
            with step(f"{name} {address}"):
                process.wait_ready(
                    lambda: answers(f"http://{address}/"), timeout=_START_TIMEOUT
                )

    def _authentication(self) -> dict[str, Any]:
        passwords = self.state.root / "registry.htpasswd"
        if not self.credentials.exists():
            password = secrets.token_urlsafe(16)
            line = run("htpasswd", "-niB", _USER, stdin=password)
            self.state.write(passwords.name, line.strip() + "\n", mode=0o600)
            self.state.write_json(
                self.credentials.name,
                {"registry": PROTECTED, "username": _USER, "password": password},
            )
        return {"htpasswd": {"realm": "pykaito", "path": str(passwords)}}
