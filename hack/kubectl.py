"""kubectl, for the scripts of hack/."""

import subprocess
from pathlib import Path

from hack import paths
from hack.cluster.commands import ClusterError


def kubectl(
    kubeconfig: Path, *args: str, stdin: str | None = None, timeout: float = 120
) -> str:
    """Run kubectl and return what it printed.

    Raises:
        ClusterError: kubectl failed; the message is its own.
    """
    command = [paths.kubectl(), "--kubeconfig", str(kubeconfig), *args]
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"kubectl {' '.join(args[:2])}: {done.stderr.strip()}")
    return done.stdout
