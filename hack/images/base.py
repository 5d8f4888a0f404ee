"""What images stand on where no public registry can be reached.

Elsewhere the Containerfiles name public images. Here a minimal Debian with
Python takes the place of the one, and the environment's own uv of the other.
"""

import shutil
import tempfile
from pathlib import Path

from hack import paths
from hack.cluster.commands import ClusterError, run
from hack.cluster.progress import step
from hack.images import content
from hack.images.store import Store

#: What debootstrap makes; another recipe is another image.
_SUITE = "bookworm"
_MIRROR = "http://deb.debian.org/debian"
_PACKAGES = ("ca-certificates", "python3")

#: Files of a Debian that nothing in a container reads.
_NEEDLESS = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
_RECIPE = (_SUITE, _MIRROR, *_PACKAGES, *_NEEDLESS)
_DEBOOTSTRAP_TIMEOUT = 900.0

BASE = "localhost/pykaito/base:" + content.digest(
    (), relative_to=paths.ROOT, salt=_RECIPE
)


def ensure_base(store: Store) -> str:
    """Return the reference of a Debian with Python, made on the first call."""
    if BASE not in store.sizes():
        with step("base image: install Debian"):
            container = store.buildah("from", "scratch").strip()
            root = Path(store.buildah("mount", container).strip())
            run(
                *("debootstrap", "--variant=minbase"),
                *(f"--include={','.join(_PACKAGES)}", _SUITE, root, _MIRROR),
                timeout=_DEBOOTSTRAP_TIMEOUT,
            )
            for needless in _NEEDLESS:
                shutil.rmtree(root / needless)
                (root / needless).mkdir()
            store.buildah("commit", "--quiet", "--rm", container, BASE, timeout=300)
    return BASE


def ensure_uv(store: Store) -> str:
    """Return the reference of an image that holds the environment's uv.

    Raises:
        ClusterError: uv is not there.
    """
    uv = Path(paths.ROOT, ".venv", "bin", "uv")
    if not uv.exists():
        raise ClusterError(f"{uv} is missing: `make env` installs it")
    tag = content.digest([uv], relative_to=uv.parent, salt=())
    reference = f"localhost/pykaito/uv:{tag}"
    if reference not in store.sizes():
        with tempfile.TemporaryDirectory() as scratch:
            containerfile = Path(scratch, "Containerfile")
            containerfile.write_text("FROM scratch\nCOPY uv /uv\n")
            store.build(reference, containerfile, uv.parent, arguments={})
    return reference
