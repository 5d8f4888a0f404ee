"""Resident memory of the idle operator, against a process that imports kr8s.

The operator runs as it does in its pod, with the cluster's own objects in its
caches, as a standby of the one that may be installed. What it takes beyond the
client library is what the machinery costs.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from hack import paths
from hack.cluster.commands import ClusterError
from hack.cluster.commands import run as run_tool

BASELINE = "a process that has imported kr8s"
READY_SECONDS = 60


def run() -> None:
    """Measure and print one line."""
    apply_crds()
    baseline, operator = kr8s_memory(), operator_memory()
    print(
        f"operator idle RSS: {operator:.0f} MiB, {operator / baseline:.2f} times that "
        f"of {BASELINE} ({baseline:.0f} MiB)"
    )


def apply_crds() -> None:
    """Have the cluster know the kinds that the operator waits for."""
    kubectl = (paths.tool("kubectl"), "--kubeconfig", paths.KUBECONFIG)
    crds = paths.ROOT / "manifests" / "crds"
    run_tool(*kubectl, "apply", "--server-side", "-f", crds, timeout=60)


def kr8s_memory() -> float:
    """Return the resident memory of the baseline, in MiB."""
    code = "import kr8s.asyncio, sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        if process.stdout is not None:
            process.stdout.readline()
        try:
            return resident(process.pid)
        finally:
            process.terminate()


def operator_command(kubeconfig: Path, health_port: int) -> list[str]:
    """Return what runs an operator outside the cluster, which makes no pods."""
    return [
        *(sys.executable, "-m", "pykaito.cli", "operator"),
        *("--vllm-image", "unused", "--transformers-image", "unused"),
        *("--kubeconfig", str(kubeconfig), "--namespace", "pykaito-system"),
        *("--metrics-port", "0", "--health-port", str(health_port)),
    ]


def operator_memory() -> float:
    """Return the resident memory of a ready operator, in MiB.

    Raises:
        ClusterError: it did not become ready; the message holds its log.
    """
    port = 18081
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            operator_command(paths.KUBECONFIG, port), stdout=log, stderr=log
        ) as process,
    ):
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not is_ready(f"http://127.0.0.1:{port}/readyz"):
                if time.monotonic() > deadline or process.poll() is not None:
                    log.seek(0)
                    raise ClusterError(f"the operator is not ready:\n{log.read()}")
                time.sleep(0.2)
            return resident(process.pid)
        finally:
            process.terminate()


def is_ready(url: str) -> bool:
    """Whether the readiness probe passes."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def resident(pid: int) -> float:
    """Return a process's resident memory, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    if found is None:
        raise ClusterError(f"process {pid} ended while it was measured")
    return int(found[1]) / 1024
