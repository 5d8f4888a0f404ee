"""A cluster in memory, Azure beside it, and the operator between, on virtual time."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from azure.core.pipeline.transport import AioHttpTransport

from pykaito.api import labels
from pykaito.api.parse import parse
from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.errors import TransportError
from pykaito.operator.objects import NAMESPACES, NODES, Key
from pykaito.provisioners.azure_arm import sdk
from pykaito.provisioners.azure_arm.cloud import AgentPools
from pykaito.provisioners.azure_arm.provisioner import AzureArm
from pykaito.provisioners.azure_arm.settings import Target
from pykaito.provisioners.naming import instance_name
from pykaito.provisioners.skus import find_sku
from pykaito.reconcilers.controllers import Settings
from pykaito.reconcilers.lookups import NoHub
from pykaito.reconcilers.machine.lifecycle import Policy
from pykaito.reconcilers.provisioning import ProvisioningSettings
from pykaito.reconcilers.resources import MACHINES
from tests.arm.authority import CLIENT, TENANT
from tests.arm.cluster import Cluster, Kind, Pool
from tests.arm.emulator import Emulator
from tests.arm.faults import Cut, Effect, Script
from tests.arm.nodes import node, node_name
from tests.arm.server import serve_unix
from tests.unit.arm.azure import (
    AKS,
    CLUSTER,
    CONNECTED,
    GROUP,
    SUBSCRIPTION,
    URL,
)
from tests.unit.operator.virtual_time import VirtualClock, eventually
from tests.unit.reconcilers.cluster_api import ClusterApi
from tests.unit.reconcilers.running import running

NAMESPACE, NAME = "team-a", "phi-0"
POOL = instance_name(Key(NAMESPACE, NAME))
SIZE = "Standard_NC24ads_A100_v4"


def raw_machine(name: str = NAME, **spec: Any) -> dict[str, Any]:
    asked = {
        "provisioner": "azure_arm",
        "instanceType": SIZE,
        "resources": {"nvidia.com/gpu": "1"},
        "labels": {"kaito.sh/workspace": "phi", "apps": "phi"},
        "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        "storage": "100Gi",
    }
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Machine",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "finalizers": [labels.MACHINE_FINALIZER],
        },
        "spec": asked | spec,
    }


def machine(name: str = NAME, **spec: Any) -> Machine:
    return parse(Machine, raw_machine(name, **spec))


class _Dead:
    """Cuts every connection before anything takes effect."""

    def strike(self, verb: str, pool: str) -> Effect | None:
        del verb, pool
        return Cut(after=False)


class AzureWorld:
    """What a test does to the cluster and to Azure, and what it sees of them."""

    def __init__(self, folder: Path, kind: Kind = "aks") -> None:
        self.clock = VirtualClock()
        self.api = ClusterApi()
        resource_id = AKS if kind == "aks" else f"/{CONNECTED}"
        self.cloud = Cluster(
            resource_id,
            self.clock,
            kind,
            on_pool_ready=self._join,
            on_pool_gone=self._leave,
        )
        self.script = Script()
        self.arm = Emulator(self.cloud, clock=self.clock, faults=self.script)
        self.arm.page_size = 3
        token = folder / "token"
        token.write_text(self.arm.authority.federated)
        self.environ = {
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_FEDERATED_TOKEN_FILE": str(token),
            "AZURE_AUTHORITY_HOST": URL,
            "AZURE_RESOURCE_MANAGER_ENDPOINT": URL,
        }
        if kind == "aks":
            self.environ |= {
                "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
                "ARM_RESOURCE_GROUP": GROUP,
                "AZURE_CLUSTER_NAME": CLUSTER,
            }
        else:
            self.environ["AZURE_CONNECTED_CLUSTER_ID"] = f"/{CONNECTED}"
        self.policy = Policy()
        self._folder = folder
        self._session: Any = None

    @contextlib.asynccontextmanager
    async def azure(self) -> AsyncIterator[None]:
        """Let there be Azure, and the cluster's own namespace."""
        namespace = {"metadata": {"name": "kube-system"}}
        await self.api.create(NAMESPACES, namespace)
        async with serve_unix(self.arm, self._folder) as self._session:
            yield

    @contextlib.asynccontextmanager
    async def operator(self, *, crash: bool = False) -> AsyncIterator[None]:
        """Run the operator; at the end it stops, or crashes."""
        provisioning = ProvisioningSettings(
            default="azure_arm", policy=self.policy, environ=self.environ
        )
        async with running(
            self.api,
            Settings({"transformers": "reg/transformers:1"}),
            provisioning,
            [lambda context: AzureArm(context, self._connect)],
            hub=NoHub(),
            crash=self._unheard() if crash else None,
        ):
            yield

    @contextlib.contextmanager
    def _unheard(self) -> Iterator[None]:
        """Let nothing that is said from now on be heard, as after a crash."""
        fault, faults = self.api.fault, self.arm.faults
        # Nodes come and go all the same: those are not the operator's to write.
        self.api.fault = lambda verb, of: (
            None if of is NODES else TransportError(f"dead before {verb}")
        )
        self.arm.faults = _Dead()
        try:
            yield
        finally:
            self.api.fault, self.arm.faults = fault, faults

    async def _connect(self, target: Target) -> AgentPools:
        transport = AioHttpTransport(session=self._session, session_owner=False)
        return sdk.connect(target, transport=transport)

    async def _join(self, cluster: Cluster, pool: Pool) -> None:
        size = pool.properties["vmSize"]
        gpus = {"nvidia.com/gpu": str(find_sku(size).count)}
        if self.api.find(NODES, node_name(cluster, pool), "") is None:
            await self.api.create(NODES, node(cluster, pool, allocatable=gpus))

    async def _leave(self, cluster: Cluster, pool: Pool) -> None:
        if self.api.find(NODES, node_name(cluster, pool), "") is not None:
            await self.api.delete(NODES, node_name(cluster, pool))

    async def add_machine(self, name: str = NAME, **spec: Any) -> None:
        await self.api.create(MACHINES, raw_machine(name, **spec))

    async def delete_machine(self, name: str = NAME) -> None:
        await self.api.delete(MACHINES, name, namespace=NAMESPACE)

    async def lose_machine(self, name: str = NAME) -> None:
        """Take a Machine away without asking the operator."""
        unheld = {"metadata": {"finalizers": None}}
        await self.api.patch(MACHINES, name, unheld, namespace=NAMESPACE)
        await self.delete_machine(name)

    def machine(self, name: str = NAME) -> Any:
        return self.api.find(MACHINES, name, NAMESPACE)

    def status(self, name: str = NAME) -> dict[str, Any]:
        return (self.machine(name) or {}).get("status") or {}

    def condition(self, kind: str = "Ready", name: str = NAME) -> dict[str, Any]:
        found = {c["type"]: c for c in self.status(name).get("conditions", ())}
        nothing: dict[str, Any] = {}
        return found.get(kind, nothing)

    async def until_reason(
        self, reason: str, name: str = NAME, *, within: float = 600
    ) -> dict[str, Any]:
        """Wait until the Machine is, or is not, ready for that reason."""
        await self.until(lambda: self.condition("Ready", name).get("reason") == reason,
                         within=within)  # fmt: skip
        return self.condition("Ready", name)

    async def until_gone(self, name: str = NAME, *, within: float = 900) -> None:
        await self.until(lambda: self.machine(name) is None, within=within)

    async def until(self, holds: Callable[[], bool], *, within: float = 600) -> None:
        await eventually(holds, within=within, step=0.5)
