"""What the operator is put together of, as seen from outside."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from pykaito.operator.clock import SystemClock
from pykaito.operator.manager import Manager
from pykaito.operator.objects import LEASES, SECRETS
from pykaito.reconcilers.assembly import LEASE, Process, Webhook, assemble
from pykaito.reconcilers.controllers import Settings
from pykaito.reconcilers.lookups import NoHub
from pykaito.reconcilers.provisioning import ProvisioningSettings
from pykaito.reconcilers.resources import WORKSPACES
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.cluster_api import ClusterApi
from tests.unit.reconcilers.running import SYSTEM, unreachable
from tests.unit.reconcilers.workspaces import raw_workspace

WEBHOOK = Webhook(0, "pykaito-webhook")


class Operator:
    """The operator with all that it can have, on real ports."""

    def __init__(self, provisioner: str = "preferred_nodes") -> None:
        self.api = ClusterApi()
        self.registry = CollectorRegistry()
        self.manager = self._assembled(provisioner)

    def _assembled(self, provisioner: str) -> Manager:
        process = Process(
            identity="me",
            namespace=SYSTEM,
            metrics_port=0,
            health_port=0,
            webhook=WEBHOOK,
        )
        return assemble(
            self.api,
            process,
            Settings({}, provisioning=ProvisioningSettings(provisioner)),
            clock=SystemClock(),
            rng=random.Random(1),  # noqa: S311 - jitter
            hub=NoHub(),
            default_runtime="vllm",
            connect=unreachable,
            registry=self.registry,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(self.manager.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def readiness(self) -> str:
        """Return what /readyz says once it passes."""
        health = self.manager.health
        assert health is not None
        async with asyncio.timeout(20), httpx.AsyncClient() as http:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await http.get(f"http://127.0.0.1:{health.port}/readyz")
                    if answer.is_success:
                        return answer.text
                await asyncio.sleep(0.01)


async def test_it_is_ready_once_its_caches_and_its_webhook_are() -> None:
    operator = Operator()
    async with operator.running():
        assert await operator.readiness() == (
            "[+]caches ok\n[+]webhook ok\nreadyz check passed\n"
        )
    assert [s["metadata"]["name"] for s in operator.api.stored(SECRETS)] == [
        "pykaito-webhook-tls"
    ]


async def test_it_reconciles_while_it_holds_the_lease_of_its_namespace() -> None:
    operator = Operator()
    obj = raw_workspace()
    obj["metadata"].pop("uid")
    await operator.api.apply(WORKSPACES, obj, field_manager="kubectl")
    name = obj["metadata"]["name"]
    async with operator.running():
        await eventually(lambda: "status" in operator.api.find(WORKSPACES, name))
        [lease] = operator.api.stored(LEASES)
    assert (lease["metadata"]["namespace"], lease["metadata"]["name"]) == (
        SYSTEM,
        LEASE,
    )
    assert lease["spec"]["holderIdentity"] == "me"


async def test_it_tells_prometheus_of_workspaces_machines_and_loads() -> None:
    operator = Operator()
    assert {family.name for family in operator.registry.collect()} == {
        "kaito_workspace_count",
        "kaito_machine_count",
        "kaito_workspace_load_progress",
    }


async def test_a_provisioner_that_is_not_installed_is_named() -> None:
    with pytest.raises(ValueError, match="--provisioner: found 'terraform'"):
        Operator("terraform")
