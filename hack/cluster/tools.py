"""Kubernetes and what runs beside it, built from the Go modules in hack/tools.

Each module's commands land in a cache directory named after everything that
decides their content (go.mod, go.sum and the flags), so a second build finds
them, two checkouts share them, and a changed pin never meets an old binary.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.commands import ClusterError, run
from hack.cluster.progress import note, step

MODULES = Path(__file__).resolve().parent.parent / "tools"

_DOWNLOAD_TIMEOUT = 900.0
# The first of Kubernetes' commands compiles nearly all of it: ten minutes on two
# cores from a cold build cache.
_BUILD_TIMEOUT = 2700.0


@dataclass(frozen=True)
class Module:
    """A Go module under hack/tools and the commands it gives.

    Attributes:
        name: Its folder under hack/tools.
        pinned: The module path whose version is the pin.
        packages: The commands' Go packages; a command is named as its last part.
        version_flags: Linker flags that tell the commands their version, which
            a build outside their own repository does not know. `{version}`,
            `{major}` and `{minor}` are filled in.
    """

    name: str
    pinned: str
    packages: tuple[str, ...]
    version_flags: str


KUBERNETES = Module(
    name="kubernetes",
    pinned="k8s.io/kubernetes",
    packages=tuple(
        f"k8s.io/kubernetes/cmd/{command}"
        for command in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-proxy",
            "kubelet",
            "kubectl",
        )
    ),
    version_flags=(
        "-X k8s.io/component-base/version.gitVersion={version}"
        " -X k8s.io/client-go/pkg/version.gitVersion={version}"
        " -X k8s.io/component-base/version.gitMajor={major}"
        " -X k8s.io/component-base/version.gitMinor={minor}"
    ),
)
HELM = Module(
    name="helm",
    pinned="helm.sh/helm/v4",
    packages=("helm.sh/helm/v4/cmd/helm",),
    version_flags="-X helm.sh/helm/v4/internal/version.version={version}",
)
COREDNS = Module(
    name="coredns",
    pinned="github.com/coredns/coredns",
    packages=("github.com/coredns/coredns",),
    version_flags="",
)
CLUSTER = (KUBERNETES, HELM, COREDNS)
# Karpenter's core with its kwok cloud provider, whose command is named kwok too:
# neither is linked into the cluster's bin, see karpenter.py.
KARPENTER = Module(
    name="karpenter",
    pinned="sigs.k8s.io/karpenter",
    packages=("sigs.k8s.io/karpenter/kwok",),
    version_flags="-X sigs.k8s.io/karpenter/pkg/operator.Version={version}",
)
KWOK = Module(
    name="kwok",
    pinned="sigs.k8s.io/kwok",
    packages=("sigs.k8s.io/kwok/cmd/kwok",),
    version_flags="",
)
ALL = (*CLUSTER, KARPENTER, KWOK)


def ensure(module: Module) -> Path:
    """Build a module's commands if they are not in the cache yet.

    Returns:
        The directory that holds them.

    Raises:
        ClusterError: Go is missing or too old, or the build failed.
    """
    folder = MODULES / module.name
    manifest = (folder / "go.mod").read_text()
    version = pinned_version(manifest, module.pinned)
    linker_flags = f"-s -w {expand(module.version_flags, version)}".strip()
    directory = cache() / cache_key(
        module.name, version, manifest, (folder / "go.sum").read_text(), linker_flags
    )
    if not directory.exists():
        _check_go(manifest)
        _build(module, version, folder, linker_flags, directory)
    return directory / "bin"


def link(modules: Iterable[Module], directory: Path) -> None:
    """Make a directory's links lead to the modules' commands, built if need be.

    Raises:
        ClusterError: As `ensure`.
    """
    for module in modules:
        for command in ensure(module).iterdir():
            link = directory / command.name
            if not link.is_symlink() or link.readlink() != command:
                link.unlink(missing_ok=True)
                link.symlink_to(command)


def sources(module: Module) -> Path:
    """The directory of a pinned module's sources, downloaded if need be.

    Raises:
        ClusterError: Go is missing or too old, or the download failed.
    """
    folder = MODULES / module.name
    _check_go((folder / "go.mod").read_text())
    found = run(
        *("go", "mod", "download", "-json", module.pinned),
        cwd=folder,
        env=_environment(),
        timeout=_DOWNLOAD_TIMEOUT,
    )
    return Path(json.loads(found)["Dir"])


def cache() -> Path:
    """Where built tools are kept, outside any checkout."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "pykaito" / "tools"


def pinned_version(manifest: str, module: str) -> str:
    """The version at which a go.mod requires a module, as in `v1.2.3`."""
    found = re.search(
        rf"^(?:require)?\s*{re.escape(module)} (v\S+)", manifest, re.MULTILINE
    )
    if not found:
        raise ClusterError(f"go.mod does not require {module}")
    return found[1]


def expand(flags: str, version: str) -> str:
    """Fill a version into linker flags."""
    major, minor, *_ = version.removeprefix("v").split(".")
    return flags.format(version=version, major=major, minor=minor)


def cache_key(name: str, version: str, manifest: str, sums: str, flags: str) -> str:
    """A directory name that changes whenever the binaries would."""
    digest = hashlib.sha256(f"{manifest}\x00{sums}\x00{flags}".encode())
    return f"{name}-{version}-{digest.hexdigest()[:12]}"


def required_go(manifest: str) -> tuple[int, int]:
    """The Go release that a go.mod asks for, as (major, minor)."""
    found = re.search(r"^go (\d+)\.(\d+)", manifest, re.MULTILINE)
    if not found:
        raise ClusterError("go.mod has no `go` line")
    return int(found[1]), int(found[2])


def _check_go(manifest: str) -> None:
    major, minor = required_go(manifest)
    wanted = f"Go {major}.{minor} or newer builds the cluster's tools"
    if not shutil.which("go"):
        raise ClusterError(f"{wanted}, and `go` is not on PATH: see https://go.dev/dl")
    release = run("go", "env", "GOVERSION").strip()
    found = re.match(r"go(\d+)\.(\d+)", release)
    # An older Go since 1.21 fetches the release that go.mod names, unless told not to.
    fetches = run("go", "env", "GOTOOLCHAIN").strip() != "local"
    oldest = (1, 21) if fetches else (major, minor)
    if found and (int(found[1]), int(found[2])) < oldest:
        raise ClusterError(f"{wanted}, and this is {release}: see https://go.dev/dl")


def _environment() -> dict[str, str]:
    """Go's environment: a user's own settings must not change what is built."""
    flags = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    return {**os.environ, **flags}


def _build(
    module: Module, version: str, folder: Path, linker_flags: str, directory: Path
) -> None:
    note(f"building {module.name} {version}; only the first time takes minutes")
    env = _environment()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with step(f"{module.name}: download modules"):
        run("go", "mod", "download", cwd=folder, env=env, timeout=_DOWNLOAD_TIMEOUT)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".build-") as scratch:
        target = Path(scratch) / directory.name
        for package in module.packages:
            command = package.rpartition("/")[2]
            with step(f"{module.name}: build {command}"):
                run(
                    *("go", "build", "-trimpath", "-ldflags", linker_flags),
                    *("-o", target / "bin" / command, package),
                    cwd=folder,
                    env=env,
                    timeout=_BUILD_TIMEOUT,
                )
        # A rename is atomic: the directory is there whole or not at all.
        if not directory.exists():
            target.rename(directory)
