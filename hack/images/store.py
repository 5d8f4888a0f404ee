"""buildah with a storage of its own, under the cache folder.

The storage outlives clusters and checkouts, and is no one else's: an image in
it can be taken away, and all of it deleted, without touching what else the
machine builds.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack import paths
from hack.cluster.commands import run, succeeds

#: Seconds that a whole build may take: the CUDA libraries of a GPU image are
#: 4 GB to fetch and to write several times.
_BUILD_TIMEOUT = 3600.0
_PUSH_TIMEOUT = 1200.0


@dataclass(frozen=True)
class Store:
    """buildah's images below one folder.

    Attributes:
        folder: Holds the images, the run-time state and scratch files.
    """

    folder: Path = paths.CACHE / "containers"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process build here meanwhile; leave no mount behind.

        Two test runs may ask for the same image at once: the second one waits,
        and finds it built.
        """
        scratch = self.folder / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # Stages that add nothing stay behind as mounted containers.
                self.buildah("rm", "--all")
                succeeds("umount", self.folder / "storage" / "overlay")

    def buildah(self, *arguments: str | Path, timeout: float = 60) -> str:
        """Run buildah on this storage and return what it printed."""
        where = ("--root", self.folder / "storage", "--runroot", self.folder / "run")
        env = {**os.environ, "TMPDIR": str(self.folder / "tmp")}
        # Needs no runtime and no cgroup, and is five times as fast.
        env["BUILDAH_ISOLATION"] = "chroot"
        return run("buildah", *where, *arguments, timeout=timeout, env=env)

    def sizes(self) -> dict[str, str]:
        """Map the reference of each image here to its size, unpacked, for people."""
        images = json.loads(self.buildah("images", "--json") or "[]")
        return {
            name: image["size"] for image in images for name in image["names"] or ()
        }

    def build(
        self,
        reference: str,
        containerfile: Path,
        context: Path,
        *,
        arguments: Mapping[str, str],
        mounts: Sequence[str] = (),
    ) -> None:
        """Build an image.

        Args:
            reference: Its name and tag.
            containerfile: How to build it.
            context: The folder that its COPY lines read.
            arguments: Values of its ARG lines.
            mounts: Folders of this machine that its RUN lines see, as
                ``SOURCE:TARGET[:ro]``.
        """
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        options += [f"--volume={mount}" for mount in mounts]
        self.buildah(
            *("build", "--layers", "--force-rm", "--quiet", *options),
            *("--file", containerfile, "--tag", reference, context),
            timeout=_BUILD_TIMEOUT,
        )

    @contextmanager
    def mounted(self, reference: str) -> Iterator[Path]:
        """The files of an image, as a folder."""
        container = self.buildah("from", reference).strip()
        try:
            yield Path(self.buildah("mount", container).strip())
        finally:
            self.buildah("rm", container)

    def push(self, reference: str, target: str, *, authfile: Path) -> None:
        """Copy an image to a registry that speaks plain HTTP.

        Layers travel as zstd at its fastest: for what torch weighs, gzip takes
        twice as long and is larger.
        """
        self.buildah(
            *("push", "--quiet", "--tls-verify=false", "--authfile", authfile),
            *("--compression-format=zstd", "--compression-level=1"),
            *(reference, f"docker://{target}"),
            timeout=_PUSH_TIMEOUT,
        )

    def delete(self) -> None:
        """Delete every image, and the folder."""
        if self.folder.exists():
            with self.locked():
                shutil.rmtree(self.folder / "storage", ignore_errors=True)
            shutil.rmtree(self.folder)
