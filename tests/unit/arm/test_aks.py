"""Azure's SDK for AKS gets from the emulator what it gets from the service."""

from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.core.rest import HttpRequest

from tests.arm import refusals
from tests.arm.cluster import CREATE_SECONDS, Cluster, Pool
from tests.arm.emulator import Emulator
from tests.arm.faults import Cut, Ends, Fault, Refuse, Script, Slow
from tests.arm.nodes import node
from tests.unit.arm.azure import CLUSTER, GROUP, aks_client, cluster, pool
from tests.unit.operator.virtual_time import VirtualClock

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def aks() -> Cluster:
    return cluster(VirtualClock())


@pytest.fixture
def arm(aks: Cluster) -> Emulator:
    return Emulator(aks, clock=aks.clock, page_size=2)


async def test_a_pool_is_creating_until_its_operation_ends(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    started = aks.clock.monotonic()
    async with aks_client(arm, tmp_path) as client:
        poller = await client.agent_pools.begin_create_or_update(
            GROUP, CLUSTER, "ws1", pool(nodeLabels={"a": "b"}, mode="User")
        )
        under_way = await client.agent_pools.get(GROUP, CLUSTER, "ws1")
        made = await poller.result()
    assert under_way.provisioning_state == "Creating"
    assert made.provisioning_state == "Succeeded"
    assert made.power_state.code == "Running"
    assert (made.name, made.node_labels, made.e_tag != under_way.e_tag) == (
        "ws1",
        {"a": "b"},
        True,
    )
    assert aks.clock.monotonic() - started == pytest.approx(CREATE_SECONDS, abs=2)
    assert aks.births == {"ws1": 1}


async def test_a_pool_that_is_ready_brings_its_node(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    nodes = {}

    async def ready(of: Cluster, made: Pool) -> None:
        nodes[made.name] = node(of, made, allocatable={"nvidia.com/gpu": "1"})

    async def gone(_of: Cluster, made: Pool) -> None:
        del nodes[made.name]

    aks.on_pool_ready, aks.on_pool_gone = ready, gone
    async with aks_client(arm, tmp_path) as client:
        body = pool(
            scaleSetPriority="Spot",
            availabilityZones=["2"],
            nodeTaints=["sku=gpu:NoSchedule"],
        )
        await (
            await client.agent_pools.begin_create_or_update(GROUP, CLUSTER, "ws1", body)
        ).result()
        found = nodes["ws1"]
        await (await client.agent_pools.begin_delete(GROUP, CLUSTER, "ws1")).result()
    assert nodes == {}
    labels = found["metadata"]["labels"]
    assert labels["agentpool"] == labels["kubernetes.azure.com/agentpool"] == "ws1"
    assert labels["topology.kubernetes.io/zone"] == "westeurope-2"
    assert labels["accelerator"] == "nvidia"
    assert labels["kubernetes.azure.com/scalesetpriority"] == "spot"
    assert found["spec"]["taints"] == [
        {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
        {
            "key": "kubernetes.azure.com/scalesetpriority",
            "value": "spot",
            "effect": "NoSchedule",
        },
    ]
    provider_id = found["spec"]["providerID"]
    assert provider_id.startswith("azure:///subscriptions/")
    assert provider_id.split("/virtualMachineScaleSets/")[1].startswith("aks-ws1-")


async def test_a_create_that_fails_leaves_a_failed_pool_that_says_why(
    arm: Emulator, tmp_path: Path
) -> None:
    why = refusals.overconstrained().within("ResourceOperationFailure")
    arm.faults = Script([Fault("put", Ends(why))])
    async with aks_client(arm, tmp_path) as client:
        poller = await client.agent_pools.begin_create_or_update(
            GROUP, CLUSTER, "ws1", pool()
        )
        with pytest.raises(HttpResponseError) as raised:
            await poller.result()
        left = await client.agent_pools.get(GROUP, CLUSTER, "ws1")
    assert raised.value.error is not None
    assert raised.value.error.code == "ResourceOperationFailure"
    assert left.provisioning_state == "Failed"
    told = left.status.provisioning_error
    assert told.details[0].code == "OverconstrainedZonalAllocationRequest"


async def test_a_create_can_be_begun_without_following_it(
    arm: Emulator, tmp_path: Path
) -> None:
    async with aks_client(arm, tmp_path) as client:
        poller = await client.agent_pools.begin_create_or_update(
            GROUP,
            CLUSTER,
            "ws1",
            pool(),
            polling=False,
            cls=lambda response, made, _: (made, response.http_response.headers),
        )
        made, headers = await poller.result()  # type: ignore[misc]
        assert made.provisioning_state == "Creating"
        assert len(arm.requests("operation")) == 0
        request = HttpRequest("GET", headers["Azure-AsyncOperation"])
        response = await client.send_request(request)
        assert response.json()["status"] == "InProgress"


async def test_a_list_comes_in_pages(arm: Emulator, tmp_path: Path) -> None:
    names = [f"ws{n}" for n in range(5)]
    async with aks_client(arm, tmp_path) as client:
        for name in names:
            await client.agent_pools.begin_create_or_update(
                GROUP, CLUSTER, name, pool(), polling=False
            )
        found = [p.name async for p in client.agent_pools.list(GROUP, CLUSTER)]
    assert found == names
    assert [entry.status for entry in arm.requests("list")] == [200, 200, 200]


async def test_a_pool_is_absent_once_its_deletion_ended(
    arm: Emulator, tmp_path: Path
) -> None:
    async with aks_client(arm, tmp_path) as client:
        pools = client.agent_pools
        poller = await pools.begin_create_or_update(GROUP, CLUSTER, "ws1", pool())
        await poller.result()
        deletion = await pools.begin_delete(GROUP, CLUSTER, "ws1")
        assert (await pools.get(GROUP, CLUSTER, "ws1")).provisioning_state == "Deleting"
        await deletion.result()
        with pytest.raises(ResourceNotFoundError) as raised:
            await pools.get(GROUP, CLUSTER, "ws1")
        again = await pools.begin_delete(GROUP, CLUSTER, "ws1")
        await again.result()
    assert raised.value.error is not None
    assert raised.value.error.code == "NotFound"
    assert [entry.status for entry in arm.requests("delete")] == [202, 204]


async def test_an_operation_in_progress_refuses_another_on_the_pool(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    async with aks_client(arm, tmp_path) as client:
        pools = client.agent_pools
        await pools.begin_create_or_update(GROUP, CLUSTER, "ws1", pool(), polling=False)
        with pytest.raises(ResourceExistsError) as raised:
            await pools.begin_delete(GROUP, CLUSTER, "ws1")
        await pools.begin_create_or_update(GROUP, CLUSTER, "ws2", pool(), polling=False)
        aks.one_at_a_time = True
        with pytest.raises(ResourceExistsError):
            await pools.begin_create_or_update(GROUP, CLUSTER, "ws3", pool())
    assert raised.value.error is not None
    assert raised.value.error.code == "OperationNotAllowed"
    assert set(aks.pools) == {"ws1", "ws2"}


async def test_a_create_only_put_does_not_touch_what_exists(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    async with aks_client(arm, tmp_path) as client:
        pools = client.agent_pools
        missing = MatchConditions.IfMissing
        poller = await pools.begin_create_or_update(
            GROUP, CLUSTER, "ws1", pool(), match_condition=missing
        )
        await poller.result()
        with pytest.raises(ResourceExistsError) as raised:
            await pools.begin_create_or_update(
                GROUP, CLUSTER, "ws1", pool(mode="User"), match_condition=missing
            )
    assert raised.value.status_code == 412
    assert "mode" not in aks.pools["ws1"].properties


async def test_a_delete_by_etag_spares_a_pool_that_changed(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    async with aks_client(arm, tmp_path) as client:
        pools = client.agent_pools
        make = await pools.begin_create_or_update(GROUP, CLUSTER, "ws1", pool())
        seen = await make.result()
        change = await pools.begin_create_or_update(
            GROUP, CLUSTER, "ws1", pool(mode="User")
        )
        changed = await change.result()
        unmodified = MatchConditions.IfNotModified
        with pytest.raises(ResourceModifiedError):
            await pools.begin_delete(
                GROUP, CLUSTER, "ws1", etag=seen.e_tag, match_condition=unmodified
            )
        await pools.begin_delete(
            GROUP,
            CLUSTER,
            "ws1",
            etag=changed.e_tag,
            match_condition=unmodified,
            polling=False,
        )
    assert aks.pools["ws1"].state == "Deleting"


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({"properties": {"vmSize": "x", "vmSizes": "y"}}, "properties.vmSizes"),
        ({"properties": {"vmSize": "x", "count": "1"}}, "properties.count"),
        (pool(nodeLabels={"kubernetes.azure.com/x": "y"}), "reserved"),
        (pool(nodeLabels={"a": "b" * 64}), "no value of a label"),
        (pool(nodeTaints=["sku=gpu"]), "sku=gpu"),
        ({"properties": {"count": 1}}, "vmSize"),
    ],
)
async def test_a_body_that_the_models_do_not_describe_is_refused(
    arm: Emulator, aks: Cluster, tmp_path: Path, body: dict[str, object], about: str
) -> None:
    async with aks_client(arm, tmp_path) as client:
        with pytest.raises(HttpResponseError, match=about) as raised:
            await client.agent_pools.begin_create_or_update(GROUP, CLUSTER, "ws1", body)
    assert raised.value.status_code == 400
    assert aks.pools == {}


@pytest.mark.parametrize("name", ["1pool", "toolonganame1", "Upper"])
async def test_a_name_that_no_pool_may_have_is_refused(
    arm: Emulator, tmp_path: Path, name: str
) -> None:
    async with aks_client(arm, tmp_path) as client:
        with pytest.raises(HttpResponseError, match="agentPoolName"):
            await client.agent_pools.begin_create_or_update(
                GROUP, CLUSTER, name, pool()
            )


async def test_quotas_and_sizes_that_are_not_to_be_had_refuse_a_pool(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    aks.unavailable, aks.quota = {"Standard_NC6s_v3"}, {"Standard_NC24ads_A100_v4": 1}
    async with aks_client(arm, tmp_path) as client:
        pools = client.agent_pools
        with pytest.raises(HttpResponseError, match="SkuNotAvailable"):
            await pools.begin_create_or_update(
                GROUP, CLUSTER, "ws1", pool("Standard_NC6s_v3")
            )
        await pools.begin_create_or_update(GROUP, CLUSTER, "ws2", pool(), polling=False)
        with pytest.raises(HttpResponseError, match="ErrCode_InsufficientVCPUQuota"):
            await pools.begin_create_or_update(GROUP, CLUSTER, "ws3", pool())
    assert set(aks.pools) == {"ws2"}


async def test_a_stopped_cluster_shows_its_pools_and_changes_none(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    async with aks_client(arm, tmp_path) as client:
        pools = client.agent_pools
        make = await pools.begin_create_or_update(GROUP, CLUSTER, "ws1", pool())
        await make.result()
        await aks.stop()
        told = await client.managed_clusters.get(GROUP, CLUSTER)
        seen = await pools.get(GROUP, CLUSTER, "ws1")
        with pytest.raises(ResourceExistsError, match="stopped"):
            await pools.begin_delete(GROUP, CLUSTER, "ws1")
    assert told.power_state.code == seen.power_state.code == "Stopped"
    assert told.location == "westeurope"
    assert told.node_resource_group == "MC_models_prod_westeurope"


async def test_another_cluster_is_not_found(arm: Emulator, tmp_path: Path) -> None:
    async with aks_client(arm, tmp_path) as client:
        with pytest.raises(ResourceNotFoundError) as raised:
            await client.agent_pools.get(GROUP, "other", "ws1")
    assert raised.value.error is not None
    assert raised.value.error.code == "ResourceNotFound"


async def test_throttling_says_when_to_come_again(
    arm: Emulator, tmp_path: Path
) -> None:
    arm.faults = Script([Fault("list", Refuse(refusals.throttled(7)))])
    async with aks_client(arm, tmp_path) as client:
        with pytest.raises(HttpResponseError) as raised:
            [p async for p in client.agent_pools.list(GROUP, CLUSTER)]
    assert raised.value.status_code == 429
    assert raised.value.response is not None
    assert raised.value.response.headers["Retry-After"] == "7"


async def test_the_sdk_waits_as_it_is_told_when_it_is_let_to_retry(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    arm.faults = Script([Fault("list", Refuse(refusals.throttled(7)), times=2)])
    started = aks.clock.monotonic()
    async with aks_client(arm, tmp_path, retry_total=3) as client:
        assert [p async for p in client.agent_pools.list(GROUP, CLUSTER)] == []
    assert aks.clock.monotonic() - started == pytest.approx(14)


@pytest.mark.parametrize("after", [False, True])
async def test_a_connection_cut_leaves_open_whether_it_took_effect(
    arm: Emulator, aks: Cluster, tmp_path: Path, after: bool
) -> None:
    # aiohttp tries once more by itself when a connection that it kept breaks.
    arm.faults = Script([Fault("put", Cut(after=after), times=2)])
    async with aks_client(arm, tmp_path) as client:
        await client.managed_clusters.get(GROUP, CLUSTER)
        with pytest.raises(ServiceRequestError):
            await client.agent_pools.begin_create_or_update(
                GROUP, CLUSTER, "ws1", pool()
            )
    assert ("ws1" in aks.pools) is after
    assert [entry.status for entry in arm.requests("put")] == [0, 0]
    assert aks.births["ws1"] == int(after)


async def test_the_status_of_an_operation_can_be_lost(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    arm.faults = Script([Fault("put", Ends(lost=True, seconds=30))])
    async with aks_client(arm, tmp_path) as client:
        poller = await client.agent_pools.begin_create_or_update(
            GROUP, CLUSTER, "ws1", pool()
        )
        with pytest.raises(HttpResponseError):
            await poller.result()
        await aks.clock.sleep(31)
        left = await client.agent_pools.get(GROUP, CLUSTER, "ws1")
    assert left.provisioning_state == "Succeeded"


async def test_a_slow_answer_tells_how_it_was(
    arm: Emulator, aks: Cluster, tmp_path: Path
) -> None:
    arm.faults = Script([Fault("get", Slow(20))])
    async with aks_client(arm, tmp_path) as client:
        pools = client.agent_pools
        begun = await pools.begin_create_or_update(
            GROUP, CLUSTER, "ws1", pool(), polling=False
        )
        assert await begun.result() is not None
        aks.pools["ws1"].state = "Updating"
        started = aks.clock.monotonic()
        seen = await pools.get(GROUP, CLUSTER, "ws1")
    assert seen.provisioning_state == "Updating"
    assert aks.clock.monotonic() - started == pytest.approx(20)
