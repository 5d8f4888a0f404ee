"""A cluster in memory with the whole operator on it, on virtual time."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from pykaito.operator.objects import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    NODES,
    PODS,
    SERVICES,
)
from pykaito.provisioners.registry import Factory, installed
from pykaito.reconcilers.controllers import Settings
from pykaito.reconcilers.lookups import ModelHub, NoHub
from pykaito.reconcilers.provisioning import ProvisioningSettings
from pykaito.reconcilers.resources import MACHINES, WORKSPACES
from tests import kstatus
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.cluster_api import ClusterApi
from tests.unit.reconcilers.running import running, unreachable
from tests.unit.reconcilers.workspaces import node, raw_workspace

NAME = "workspace-falcon-7b"
LABELS = {"apps": "falcon-7b", "node.kubernetes.io/instance-type": "Standard_NC12s_v3"}
#: Longer than any hold and any backoff of a short series of failures.
REST_SECONDS = 40.0


class World:
    """What a test does to the cluster, and what it sees of it."""

    name = NAME

    def __init__(self) -> None:
        self.api = ClusterApi()
        self.api.status_defaults[WORKSPACES] = {"observedGeneration": -1}
        self.hub: ModelHub = NoHub()
        self.connect = unreachable
        self.default_runtime = "transformers"
        self.image = "reg/transformers:1"
        self.vllm_image = "reg/vllm:1"
        self.provisioning = ProvisioningSettings()
        self.factories: list[Factory] = []

    @contextlib.asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        """Run the operator, as the command line puts it together.

        Every status that it wrote has to say to tools what is so.
        """
        settings = Settings({"vllm": self.vllm_image, "transformers": self.image})
        async with running(
            self.api,
            settings,
            self.provisioning,
            [*installed(), *self.factories],
            hub=self.hub,
            default_runtime=self.default_runtime,
            connect=self.connect,
        ):
            yield
        self.check_statuses()

    def check_statuses(self) -> None:
        """Hold every version of every Workspace against how tools read it."""
        versions = defaultdict(list)
        for version in self.api.history(WORKSPACES):
            versions[version["metadata"]["uid"]].append(version)
        for of_one in versions.values():
            kstatus.check(of_one)

    async def add_node(self, name: str = "gpu-0", **options: Any) -> None:
        await self.api.create(NODES, node(name, **({"labels": LABELS} | options)))

    async def label_node(self, name: str, **labels: str | None) -> None:
        await self.api.patch(NODES, name, {"metadata": {"labels": labels}})

    async def label_machine(self, name: str) -> None:
        """Change nothing of a Machine but have it looked at."""
        patch = {"metadata": {"labels": {"touched": "yes"}}}
        await self.api.patch(MACHINES, name, patch, namespace="default")

    async def set_node(self, name: str, **options: Any) -> None:
        status = node(name, **options)["status"]
        await self.api.patch(NODES, name, {"status": status}, subresource="status")

    async def lose_node(self, name: str) -> None:
        await self.api.delete(NODES, name)

    async def add_workspace(self, **changes: Any) -> None:
        obj = raw_workspace(**changes)
        obj["metadata"].pop("uid")
        obj["metadata"].pop("generation")
        await self.api.apply(WORKSPACES, obj, field_manager="kubectl")

    async def configure(
        self, text: str | None, name: str = "settings", namespace: str = "default"
    ) -> None:
        """Write a ConfigMap of settings; None leaves their key out."""
        data = {"other": "key"} if text is None else {"inference_config.yaml": text}
        metadata = {"name": name, "namespace": namespace}
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        await self.api.apply(
            CONFIG_MAPS, config_map | {"data": data}, field_manager="kubectl"
        )

    async def edit_workspace(self, name: str = NAME, **changes: Any) -> None:
        await self.api.patch(WORKSPACES, name, changes, namespace="default")

    async def delete_workspace(self, name: str = NAME) -> None:
        await self.api.delete(WORKSPACES, name, namespace="default")

    async def edit_deployment(self, patch: Any, manager: str = "kubectl-edit") -> None:
        await self.api.patch(
            DEPLOYMENTS, NAME, patch, namespace="default", field_manager=manager
        )

    async def delete_deployment(self) -> None:
        await self.api.delete(DEPLOYMENTS, NAME, namespace="default")

    async def serve(self, name: str = NAME, **more: Any) -> None:
        """Report the Deployment's replicas as its controller does, and more."""
        live = self.api.find(DEPLOYMENTS, name)
        replicas = live["spec"]["replicas"]
        counted = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = dict.fromkeys(counted, replicas)
        status["observedGeneration"] = live["metadata"]["generation"]
        await self.api.patch(
            DEPLOYMENTS,
            name,
            {"status": status | more},
            namespace="default",
            subresource="status",
        )

    async def served(self, **changes: Any) -> None:
        """Bring the usual Workspace to where it serves, and to rest."""
        await self.add_node()
        await self.add_workspace(**changes)
        await self.until("InferenceReady", "False")
        await eventually(lambda: self.deployment() is not None)
        await self.serve()
        await self.until("Ready", "True")
        await self.at_rest()

    async def add_pod(
        self, name: str, status: Any, spec: Any = None, **more: Any
    ) -> None:
        labels = {"kaito.sh/workspace": NAME}
        metadata = {"name": name, "namespace": "default", "labels": labels, **more}
        pod = {"metadata": metadata, "spec": spec or {}, "status": status}
        await self.api.create(PODS, pod)

    def workspace(self, name: str = NAME) -> Any:
        return self.api.find(WORKSPACES, name)

    def deployment(self, name: str = NAME) -> Any:
        return self.api.find(DEPLOYMENTS, name)

    def template(self, name: str = NAME) -> Any:
        return self.deployment(name)["spec"]["template"]

    def service(self, name: str = NAME) -> Any:
        return self.api.find(SERVICES, name)

    def machines(self) -> list[dict[str, Any]]:
        return self.api.stored(MACHINES)

    def machines_held(self) -> int:
        """Count the Machines that are not on their way out."""
        return sum("deletionTimestamp" not in m["metadata"] for m in self.machines())

    def condition(self, kind: str, name: str = NAME) -> dict[str, Any]:
        status = (self.workspace(name) or {}).get("status") or {}
        found = {c["type"]: c for c in status.get("conditions", ())}
        empty: dict[str, Any] = {}
        return found.get(kind, empty)

    async def until(self, kind: str, status: str, name: str = NAME) -> None:
        await eventually(lambda: self.condition(kind, name).get("status") == status)

    async def until_reason(self, kind: str, reason: str, name: str = NAME) -> None:
        await eventually(lambda: self.condition(kind, name).get("reason") == reason)

    async def at_rest(self) -> None:
        """Fail unless the operator stops writing."""
        await asyncio.sleep(REST_SECONDS)
        before = len(self.api.writes)
        await asyncio.sleep(REST_SECONDS)
        assert self.api.writes[before:] == []

    def events(self, reason: str) -> list[dict[str, Any]]:
        return [e for e in self.api.stored(EVENTS) if e["reason"] == reason]
