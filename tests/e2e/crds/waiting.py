"""Waiting until a CRD is served."""

import subprocess
from collections.abc import Callable

from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@retry(
    stop=stop_after_delay(60),
    wait=wait_fixed(0.5),
    retry=retry_if_result(lambda established: not established),
)
def wait_established(kubectl: Kubectl, *crds: str) -> bool:
    """Wait until CRDs are served.

    `kubectl wait` gives up at once on a CRD that has no conditions yet, so it is
    asked again.
    """
    command = ("wait", "--for=condition=Established", "--timeout=30s", *crds)
    return kubectl(*command, check=False).returncode == 0
