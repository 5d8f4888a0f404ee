"""The images of this repository, and how the local cluster's are built."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hack import paths
from hack.cluster.progress import note, step
from hack.images import content
from hack.images.base import BASE, ensure_base, ensure_uv
from hack.images.store import Store

FOLDER = Path(__file__).resolve().parent

#: Where Debian and most others keep the authorities that a machine trusts.
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Image:
    """An image that the repository builds.

    Attributes:
        name: Its folder under hack/images, and the last part of its name.
        arguments: Values of its Containerfile's ARG lines.
    """

    name: str
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def containerfile(self) -> Path:
        """How it is built."""
        return FOLDER / self.name / "Containerfile"

    @property
    def tag(self) -> str:
        """A hash of all that decides what is in it."""
        text = self.containerfile.read_text()
        salt = (text, BASE, *(f"{k}={v}" for k, v in sorted(self.arguments.items())))
        sources = [paths.ROOT / source for source in content.copied(text)]
        return content.digest(sources, relative_to=paths.ROOT, salt=salt)


@dataclass(frozen=True)
class Built:
    """An image that lies in the local storage.

    Attributes:
        repository: Its name below a registry, as in ``pykaito/operator``.
        tag: A hash of its content.
    """

    repository: str
    tag: str

    @property
    def reference(self) -> str:
        """Its name in the local storage."""
        return f"localhost/{self.repository}:{self.tag}"


def has_gpu() -> bool:
    """Say whether this machine has NVIDIA's driver."""
    return Path("/dev/nvidiactl").exists()


OPERATOR = Image("operator")
TRANSFORMERS = Image("transformers", {"TORCH": "cuda" if has_gpu() else "cpu"})

#: Every image that the cluster needs, by name.
ALL = {image.name: image for image in (OPERATOR, TRANSFORMERS)}


def build(image: Image, store: Store | None = None) -> Built:
    """Build an image, unless one of the same content is there.

    Raises:
        ClusterError: A step of the Containerfile failed; the message has its
            last lines.
        FileNotFoundError: The Containerfile copies what is not there.
    """
    store = store or Store()
    built = Built(f"pykaito/{image.name}", image.tag)
    with store.locked():
        sizes = store.sizes()
        if size := sizes.get(built.reference):
            note(f"{image.name} image: unchanged ({size})")
            return built
        if not any(name.startswith(f"localhost/{built.repository}:") for name in sizes):
            note(
                f"{image.name} image: the first build takes minutes, later ones do not"
            )
        bases = {"BASE": ensure_base(store), "UV": ensure_uv(store)}
        with tempfile.TemporaryDirectory() as scratch, step(f"{image.name} image"):
            store.build(
                built.reference,
                image.containerfile,
                paths.ROOT,
                arguments={**bases, **image.arguments},
                mounts=_mounts(Path(scratch)),
            )
        note(f"{image.name} image: {store.sizes()[built.reference]}")
    return built


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
