"""The emulator of Azure Resource Manager beside the cluster, with Nodes for its pools.

See `tests.arm.emulator` for what it stands in for. Here it runs in a thread of its own,
its operations take seconds in place of minutes, and what joins is a real Node object,
whose kubelet is played by kwok.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pykaito.operator.clock import SystemClock
from pykaito.provisioners.skus import find_sku
from tests.arm.authority import CLIENT, TENANT
from tests.arm.cluster import Cluster, Pool
from tests.arm.emulator import Emulator
from tests.arm.nodes import node, node_name
from tests.arm.server import serve
from tests.e2e.workspaces import Kubectl

SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
GROUP, CLUSTER = "group", "cluster"
FAKE = {"kwok.x-k8s.io/node": "fake"}
#: How many times faster than Azure's the emulator's operations are.
SPEED = 60.0


class _FastClock:
    """The machine's clock, on which waiting is short."""

    def __init__(self) -> None:
        self._clock = SystemClock()

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds / SPEED)


class Azure:
    """An AKS cluster, as far as its agent pools go.

    Attributes:
        cluster: what there is.
        emulator: what was asked.
        environ: tells the operator of it.
    """

    def __init__(self, kubectl: Kubectl, folder: Path) -> None:
        self._kubectl = kubectl
        self._folder = folder
        clock = _FastClock()
        self.cluster = Cluster(
            f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/"
            f"Microsoft.ContainerService/managedClusters/{CLUSTER}",
            clock,
            on_pool_ready=self._join,
            on_pool_gone=self._leave,
        )
        self.emulator = Emulator(self.cluster, clock=clock)
        self.environ: dict[str, str] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator["Azure"]:
        """Serve for a while."""
        ready, loop = threading.Event(), asyncio.new_event_loop()
        done = asyncio.Event()
        failures: list[Exception] = []

        async def main() -> None:
            async with serve(self.emulator, self._folder) as endpoint:
                token = self._folder / "federated-token"
                token.write_text(self.emulator.authority.federated)
                self.environ = {
                    "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
                    "ARM_RESOURCE_GROUP": GROUP,
                    "AZURE_CLUSTER_NAME": CLUSTER,
                    "AZURE_TENANT_ID": TENANT,
                    "AZURE_CLIENT_ID": CLIENT,
                    "AZURE_FEDERATED_TOKEN_FILE": str(token),
                    "AZURE_AUTHORITY_HOST": endpoint.url,
                    "AZURE_RESOURCE_MANAGER_ENDPOINT": endpoint.url,
                    "SSL_CERT_FILE": endpoint.ca_file,
                }
                ready.set()
                await done.wait()

        def run() -> None:
            try:
                loop.run_until_complete(main())
            except Exception as error:  # noqa: BLE001 - shown to the test, below
                failures.append(error)
            finally:
                ready.set()
                loop.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert ready.wait(30)
            assert not failures, failures
            yield self
        finally:
            if not failures:
                loop.call_soon_threadsafe(done.set)
            thread.join(30)
        assert not failures, failures

    async def _join(self, cluster: Cluster, pool: Pool) -> None:
        gpus = find_sku(pool.properties["vmSize"]).count
        obj = node(cluster, pool, allocatable={"nvidia.com/gpu": str(gpus)})
        await asyncio.to_thread(add_node, self._kubectl, obj)

    async def _leave(self, cluster: Cluster, pool: Pool) -> None:
        gone = ("delete", "node", node_name(cluster, pool), "--ignore-not-found")
        await asyncio.to_thread(self._kubectl, *gone)


def add_node(kubectl: Kubectl, obj: dict[str, Any]) -> None:
    """Create a Node that no machine is behind; kwok plays its kubelet."""
    allocatable = {"pods": "110", **obj["status"]["allocatable"]}
    bare = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {**obj["metadata"], "annotations": FAKE},
        "spec": obj.get("spec", {}),
    }
    status = {"status": {"capacity": allocatable, "allocatable": allocatable}}
    kubectl("apply", "-f", "-", stdin=json.dumps(bare))
    kubectl(
        *("patch", "node", obj["metadata"]["name"], "--subresource=status"),
        *("--type=merge", "-p", json.dumps(status)),
    )
