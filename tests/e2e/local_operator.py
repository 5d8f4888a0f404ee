"""The operator as a process of this machine, in place of the one in the cluster.

It can be killed at any moment and be back a second later, and it can be told of
provisioners whose clouds run in the tests.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hack import paths
from hack.install import NAMESPACE
from tests.e2e.workspaces import Kubectl

STOP_SECONDS = 30
#: Nobody asks these: tests kill the operator, and it may be back before a port is free.
NO_PORTS = ("--metrics-port=0", "--health-port=0")


class LocalOperator:
    """Runs the operator of this checkout; what it says is kept in a file.

    There is no election: nobody else reconciles, and a lease would outlive a kill.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        options: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self._environ = {**os.environ, **(environ or {})}
        self._environ.pop("KUBECONFIG", None)
        self._command = [
            *(sys.executable, "-m", "pykaito.cli", "operator"),
            *("--kubeconfig", str(kubeconfig), "--no-leader-elect", *NO_PORTS),
            "--default-runtime=transformers",
            "--vllm-image=registry.invalid/vllm:1",
            "--transformers-image=registry.invalid/transformers:1",
            *("--hub-endpoint=", f"--namespace={NAMESPACE}", *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to reconcile."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=paths.ROOT,
                env=self._environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """End it without a chance to finish anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as the kubelet does."""
        self._end(signal.SIGTERM)

    @property
    def said(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace")

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._process = None

    @contextlib.contextmanager
    def running(self) -> Iterator["LocalOperator"]:
        """Run it for a while."""
        self.start()
        try:
            yield self
        finally:
            self.stop()


@contextlib.contextmanager
def alone(kubectl: Kubectl) -> Iterator[None]:
    """Have the CRDs of this checkout, and let an operator in the cluster rest."""
    crds = paths.ROOT / "manifests" / "crds"
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
    deployment = ("deployment/pykaito", "-n", NAMESPACE)
    found = kubectl(
        *("get", *deployment, "--ignore-not-found"),
        *("-o", "jsonpath={.spec.replicas}"),
        check=False,
    ).stdout
    if not int(found or 0):
        yield
        return
    kubectl("scale", *deployment, "--replicas=0")
    pods = ("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=pykaito")
    kubectl("wait", *pods, "--for=delete", "--timeout=90s")
    try:
        yield
    finally:
        kubectl("scale", *deployment, f"--replicas={found}")
        kubectl("rollout", "status", *deployment, "--timeout=120s")
