"""Build an image of the repository for the local cluster."""

import os
import tempfile
from pathlib import Path

from hack import paths
from hack.cluster.commands import ClusterError
from hack.cluster.progress import note, step
from hack.images.base import ensure_base, ensure_uv
from hack.images.catalogue import Built, Image
from hack.images.store import Store

#: Builds in a row that may find their files changed meanwhile.
_ATTEMPTS = 3

#: Where Debian and most others keep the authorities that a machine trusts.
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def build(image: Image, store: Store | None = None) -> Built:
    """Build an image, unless one of the same content is there.

    Raises:
        ClusterError: A step of the Containerfile failed, and the message has its
            last lines; or its files changed again and again meanwhile.
        FileNotFoundError: The Containerfile copies what is not there.
    """
    store = store or Store()
    with store.locked():
        for _ in range(_ATTEMPTS):
            built = Built(f"pykaito/{image.name}", image.tag)
            if size := store.sizes().get(built.reference):
                note(f"{image.name} image: unchanged ({size})")
                return built
            _build(image, built.unfinished, store)
            # The tag is a promise about the content: only files that did not
            # change while they were read keep it.
            if image.tag == built.tag:
                store.buildah("tag", built.unfinished, built.reference)
                note(f"{image.name} image: {store.sizes()[built.reference]}")
                return built
    raise ClusterError(f"{image.name} image: its files change faster than it builds")


def _build(image: Image, reference: str, store: Store) -> None:
    bases = {"BASE": ensure_base(store), "UV": ensure_uv(store)}
    if reference not in store.sizes():
        note(f"{image.name} image: its first build takes minutes")
    with tempfile.TemporaryDirectory() as scratch, step(f"{image.name} image"):
        store.build(
            reference,
            image.containerfile,
            paths.ROOT,
            arguments={**bases, **image.arguments},
            mounts=_mounts(Path(scratch)),
        )


def _mounts(scratch: Path) -> list[str]:
    """Let a build use this machine's package cache and the authorities it trusts."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("UV_CACHE_DIR") or caches / "uv")
    cache.mkdir(parents=True, exist_ok=True)
    mounts = [f"{cache}:/root/.cache/uv"]
    if _AUTHORITIES.exists():
        configuration = scratch / "uv.toml"
        configuration.write_text("system-certs = true\n")
        mounts += [f"{_AUTHORITIES}:{_AUTHORITIES}:ro"]
        mounts += [f"{configuration}:/etc/uv/uv.toml:ro"]
    return mounts
