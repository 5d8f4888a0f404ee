"""The Debian packages that the cluster and the image builds need.

`python -m hack.cluster.packages` installs what is missing when run as root, and
else says what to install.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hack.cluster.commands import ClusterError, run
from hack.cluster.progress import step

NEEDED = (
    "apache2-utils",
    "buildah",
    "busybox-static",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "debootstrap",
    "docker-registry",
    "etcd-client",
    "etcd-server",
    "gcc",
    "ipset",
    "iproute2",
    "iptables",
    "jq",
    "libc6-dev",
    "nftables",
    "prometheus",
    "runc",
    "skopeo",
    "umoci",
)

_INSTALL_TIMEOUT = 900.0
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# No package starts a service.\nexit 101\n"


def missing(status: str) -> list[str]:
    """The needed packages that are not installed.

    Args:
        status: Lines `name status` as dpkg-query prints them with the format
            `${Package} ${db:Status-Status}`.
    """
    installed = {
        name
        for name, _, state in (line.partition(" ") for line in status.splitlines())
        if state == "installed"
    }
    return [name for name in NEEDED if name not in installed]


def ensure() -> None:
    """Install the packages that are missing.

    Raises:
        ClusterError: This is no Debian, or not root; the message is the command
            to run.
    """
    if not shutil.which("dpkg-query"):
        raise ClusterError(
            "the local cluster needs Debian or Ubuntu (no `dpkg-query` here):"
            " install Docker and kind, or set KUBECONFIG to a cluster of yours"
        )
    status = run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n")
    wanted = missing(status)
    if not wanted:
        return
    command = ("apt-get", "install", "--yes", "--no-install-recommends", *wanted)
    if os.geteuid() != 0:
        raise ClusterError(f"run this first:\n    sudo {' '.join(command)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"install {len(wanted)} Debian packages"), _no_services():
        run("apt-get", "update", "--quiet", env=env, timeout=_INSTALL_TIMEOUT)
        run(*command, env=env, timeout=_INSTALL_TIMEOUT)


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting the services they bring."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_POLICY_TEXT)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


if __name__ == "__main__":
    try:
        ensure()
    except ClusterError as error:
        sys.exit(str(error))
