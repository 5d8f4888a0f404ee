"""Bring images into the cluster's registry."""

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hack import paths
from hack.cluster.commands import ClusterError, run, succeeds
from hack.cluster.progress import note, step
from hack.images.catalogue import Built
from hack.images.store import Store

_COPY_TIMEOUT = 300.0


@dataclass(frozen=True)
class Registry:
    """A registry that speaks plain HTTP.

    Attributes:
        address: Host and port.
        username: Empty where it asks for none.
        password: The same.
    """

    address: str
    username: str = ""
    password: str = ""

    def reference(self, built: Built) -> str:
        """Name an image as a Pod does."""
        return f"{self.address}/{built.repository}:{built.tag}"

    @property
    def authfile(self) -> str:
        """What containers' tools read to log in, as JSON."""
        pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return json.dumps({"auths": {self.address: {"auth": pair}}})


def local() -> Registry:
    """Return the running local cluster's registry that asks for no password.

    Raises:
        ClusterError: No cluster is up.
    """
    return Registry(_environment()["registry"])


def protected() -> Registry:
    """Return the running local cluster's registry that asks for a password.

    Raises:
        ClusterError: No cluster is up.
    """
    login = json.loads(Path(_environment()["authRegistryCredentials"]).read_text())
    return Registry(login["registry"], login["username"], login["password"])


def _environment() -> dict[str, str]:
    file = paths.CLUSTER / "env.json"
    try:
        environment: dict[str, str] = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise ClusterError(
            f"no registry to push to: {file} is missing; run: make cluster"
        ) from error
    return environment


def push(built: Built, registry: Registry, store: Store | None = None) -> str:
    """Copy an image into a registry, unless it is there; return its reference.

    Raises:
        ClusterError: The registry does not answer or refuses the login.
    """
    store = store or Store()
    reference = registry.reference(built)
    with tempfile.TemporaryDirectory() as scratch, store.locked():
        authfile = Path(scratch, "auth.json")
        authfile.touch(mode=0o600)
        authfile.write_text(registry.authfile if registry.username else "{}")
        inspect = ("skopeo", "inspect", "--raw", "--tls-verify=false")
        if succeeds(*inspect, "--authfile", authfile, f"docker://{reference}"):
            note(f"{reference}: in the registry")
        else:
            with step(f"push {built.repository}"):
                store.push(built.reference, reference, authfile=authfile)
    return reference


def alias(reference: str, name: str, registry: Registry) -> None:
    """Give an image in a registry that asks for no login a second name there.

    Args:
        reference: The image, as `push` returned it.
        name: Repository and tag, as in ``curlimages/curl:latest``.
        registry: Where both are.

    Raises:
        ClusterError: The registry does not answer.
    """
    run(
        *("skopeo", "copy", "--quiet", "--insecure-policy"),
        *("--src-tls-verify=false", "--dest-tls-verify=false"),
        *(f"docker://{reference}", f"docker://{registry.address}/{name}"),
        timeout=_COPY_TIMEOUT,
    )
