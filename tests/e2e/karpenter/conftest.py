"""Karpenter: there while the tests of a module need it, and gone afterwards."""

import fcntl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hack import paths
from hack.cluster import cluster
from hack.cluster import karpenter as beside
from hack.cluster.state import LOCAL


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
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            beside.up(LOCAL)
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield
        finally:
            # Refused while another process uses it.
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                beside.down(LOCAL)
