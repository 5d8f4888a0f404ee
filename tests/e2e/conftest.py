"""What every end-to-end test gets: a real cluster and a namespace of its own.

The cluster is, in this order: the one that ``KUBECONFIG`` names, if it answers;
kind through pytest-kind, where Docker runs; the local cluster of ``hack/``. No
test knows which of the three it got.
"""

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from hack import paths
from hack.cluster import cluster
from hack.cluster import karpenter as beside
from hack.cluster.state import LOCAL
from hack.install import NAMESPACE, deliver_images, install
from tests.e2e.workspaces import example, own_namespace

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


def docker_runs() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    info = subprocess.run([docker, "info"], capture_output=True, check=False)
    return info.returncode == 0


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-kind keep and use the cluster that `make cluster` makes by kind."""
    config.option.cluster_name = "pykaito"
    config.option.keep_cluster = True
    config.option.kubeconfig = str(paths.KUBECONFIG)
    config.option.kind_bin = shutil.which("kind")


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """The admin kubeconfig of a running cluster."""
    subprocess.run([sys.executable, "-m", "hack.cluster", "up"], check=True)
    if docker_runs() and shutil.which("kind"):
        request.getfixturevalue("kind_cluster")
    return paths.KUBECONFIG


@pytest.fixture(scope="session")
def kubectl(kubeconfig: Path) -> Kubectl:
    """Run kubectl as admin; ``stdin`` is its standard input."""

    def run(
        *args: str, stdin: str | None = None, check: bool = True, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        command = [paths.kubectl(), "--kubeconfig", str(kubeconfig), *args]
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(args)}: {done.stderr or done.stdout}")
        return done

    return run


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace that is gone after the test, with all that is in it."""
    with own_namespace(kubectl, "test") as name:
        yield name


@pytest.fixture(scope="session")
def images(kubeconfig: Path) -> dict[str, str]:
    """The operator's and the runtime's image, built and where nodes can pull them."""
    assert kubeconfig.exists()
    return deliver_images()


@pytest.fixture(scope="session")
def missing_image(images: dict[str, str]) -> str:
    """An image that its registry does not have, and says so at once."""
    return f"{images['operator'].rpartition(':')[0]}:missing"


@pytest.fixture(scope="session")
def operator(kubectl: Kubectl, kubeconfig: Path, images: dict[str, str]) -> str:
    """The operator of this checkout, installed by its chart; its namespace."""
    paths.CLUSTER.mkdir(exist_ok=True)
    with (paths.CLUSTER / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install(kubeconfig, images)
    assert refuses(kubectl)
    return NAMESPACE


@retry(
    stop=stop_after_delay(60),
    wait=wait_fixed(0.5),
    retry=retry_if_result(lambda refused: not refused),
)
def refuses(kubectl: Kubectl) -> bool:
    """Wait until the API server has heard of the webhook and its certificate."""
    invalid = example("falcon-7b.yaml")
    invalid["inference"]["preset"]["name"] = "falcon-7"
    done = kubectl(
        *("create", "-n", "default", "--dry-run=server", "-f", "-"),
        stdin=json.dumps(invalid),
        check=False,
    )
    return "falcon-7b" in done.stderr


@pytest.fixture(scope="session")
def nodes(kubectl: Kubectl) -> dict[str, int]:
    """How many GPUs each node offers, without those that no machine is behind."""
    found = json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"]
    return {
        node["metadata"]["name"]: int(
            node["status"]["allocatable"].get("nvidia.com/gpu", 0)
        )
        for node in found
        if "kwok.x-k8s.io/node" not in node["metadata"].get("annotations", {})
    }


@pytest.fixture(scope="session")
def gpu_node(nodes: dict[str, int]) -> str:
    """A node that offers GPUs."""
    found = next((name for name, gpus in nodes.items() if gpus), None)
    if found is None:
        pytest.fail("no node has nvidia.com/gpu allocatable")
    return found


@pytest.fixture(scope="session")
def cpu_node(nodes: dict[str, int], gpu_node: str) -> str:
    """A node that offers none."""
    return next(name for name in nodes if name != gpu_node)


@pytest.fixture(scope="module")
def karpenter(kubeconfig: Path) -> Iterator[None]:
    """Karpenter's core with its kwok provider and the KWOKNodeClass `default`.

    The first use builds it, which takes minutes. Of several processes that use it
    at once the last one removes it, CRDs included, so a test elsewhere finds a
    cluster that has never heard of Karpenter.
    """
    assert kubeconfig.exists()
    if cluster.environment(LOCAL)["provider"] != "local":
        pytest.skip(
            "waits for the local cluster, on whose control plane's machine Karpenter"
            " runs: unset KUBECONFIG"
        )
    with (paths.CLUSTER / "karpenter.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            beside.up(LOCAL)
            yield
        finally:
            # Refused while another process uses it.
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                beside.down(LOCAL)
