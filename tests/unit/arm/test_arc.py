"""Azure's SDK for AKS Arc gets from the emulator what it gets from the service."""

from pathlib import Path

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.mgmt.hybridcontainerservice.models import AgentPool, AgentPoolProperties

from tests.arm import refusals
from tests.arm.cluster import Cluster
from tests.arm.emulator import Emulator
from tests.arm.faults import Ends, Fault, Script
from tests.arm.nodes import node
from tests.unit.arm.azure import CONNECTED, arc_client, cluster
from tests.unit.operator.virtual_time import VirtualClock

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def arc() -> Cluster:
    return cluster(VirtualClock(), "arc")


@pytest.fixture
def arm(arc: Cluster) -> Emulator:
    return Emulator(arc, clock=arc.clock, page_size=2)


def wanted(**more: object) -> AgentPool:
    properties = AgentPoolProperties(
        count=1,
        vm_size="Standard_NC4_A2",
        os_type="Linux",
        node_labels={"kaito.sh/machine": "a"},
        node_taints=["sku=gpu:NoSchedule"],
    )
    return AgentPool(properties=properties, tags={"owner": "me"}, **more)


async def test_a_pool_is_made_listed_and_deleted(
    arm: Emulator, arc: Cluster, tmp_path: Path
) -> None:
    async with arc_client(arm, tmp_path) as client:
        pools = client.agent_pool
        for name in ("ws1", "ws2", "ws3"):
            poller = await pools.begin_create_or_update(CONNECTED, name, wanted())
            made = await poller.result()
            assert made.properties.provisioning_state == "Succeeded"
            assert made.properties.status.current_state == "Succeeded"
        listed = [
            (found.name, found.tags["owner"], found.properties.vm_size)
            async for found in pools.list_by_provisioned_cluster(CONNECTED)
        ]
        deletion = await pools.begin_delete(CONNECTED, "ws2")
        await deletion.result()
        with pytest.raises(ResourceNotFoundError):
            await pools.get(CONNECTED, "ws2")
    assert listed == [(name, "me", "Standard_NC4_A2") for name in ("ws1", "ws2", "ws3")]
    assert set(arc.pools) == {"ws1", "ws3"}
    assert len(arm.requests("list")) == 2


async def test_a_create_that_fails_says_why_on_the_pool(
    arm: Emulator, tmp_path: Path
) -> None:
    arm.faults = Script([Fault("put", Ends(refusals.allocation_failed()))])
    async with arc_client(arm, tmp_path) as client:
        pools = client.agent_pool
        poller = await pools.begin_create_or_update(CONNECTED, "ws1", wanted())
        with pytest.raises(HttpResponseError, match="AllocationFailed"):
            await poller.result()
        left = await pools.get(CONNECTED, "ws1")
    assert left.properties.provisioning_state == "Failed"
    assert "AllocationFailed" in left.properties.status.error_message


async def test_an_operation_in_progress_refuses_another(
    arm: Emulator, tmp_path: Path
) -> None:
    async with arc_client(arm, tmp_path) as client:
        pools = client.agent_pool
        await pools.begin_create_or_update(CONNECTED, "ws1", wanted(), polling=False)
        with pytest.raises(ResourceExistsError, match="in progress"):
            await pools.begin_delete(CONNECTED, "ws1")


async def test_a_field_of_aks_alone_is_refused(arm: Emulator, tmp_path: Path) -> None:
    body = b'{"properties": {"vmSize": "Standard_NC4_A2", "scaleSetPriority": "Spot"}}'
    async with arc_client(arm, tmp_path) as client:
        with pytest.raises(HttpResponseError, match="scaleSetPriority"):
            await client.agent_pool.begin_create_or_update(CONNECTED, "ws1", body)


async def test_the_node_carries_the_labels_and_taints_of_its_pool(
    arm: Emulator, arc: Cluster, tmp_path: Path
) -> None:
    async with arc_client(arm, tmp_path) as client:
        await client.agent_pool.begin_create_or_update(
            CONNECTED, "ws1", wanted(), polling=False
        )
    found = node(arc, arc.pools["ws1"])
    assert found["metadata"]["labels"]["kaito.sh/machine"] == "a"
    assert found["spec"]["taints"] == [
        {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    ]
    assert found["spec"]["providerID"].startswith("moc://")
