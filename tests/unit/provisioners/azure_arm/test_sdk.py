"""The connection to Azure, by Azure's SDKs, over real sockets and TLS."""

import asyncio
import sys
from pathlib import Path

import pytest

from pykaito.operator.clock import SystemClock
from pykaito.provisioners import azure_arm
from pykaito.provisioners.azure_arm import sdk, session
from pykaito.provisioners.azure_arm.cloud import PoolExistsError
from pykaito.provisioners.azure_arm.failures import CloudError
from pykaito.provisioners.azure_arm.settings import read_target
from pykaito.provisioners.errors import NotConfiguredError
from tests.arm import refusals
from tests.arm.authority import CLIENT, TENANT
from tests.arm.cluster import Cluster, Kind
from tests.arm.emulator import Emulator
from tests.arm.faults import Refuse, Script
from tests.arm.server import serve
from tests.unit.arm.azure import AKS, CLUSTER, CONNECTED, GROUP, SUBSCRIPTION, pool

NAMED = {
    "aks": {
        "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
        "ARM_RESOURCE_GROUP": GROUP,
        "AZURE_CLUSTER_NAME": CLUSTER,
    },
    "arc": {"AZURE_CONNECTED_CLUSTER_ID": f"/{CONNECTED}"},
}


@pytest.mark.parametrize("kind", ["aks", "arc"])
@pytest.mark.parametrize("federated", [True, False])
async def test_pools_are_made_found_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, federated: bool
) -> None:
    cluster = Cluster(AKS if kind == "aks" else f"/{CONNECTED}", SystemClock(), kind)
    arm = Emulator(cluster, page_size=1)
    async with serve(arm, tmp_path) as at:
        environ = NAMED[kind] | {"AZURE_RESOURCE_MANAGER_ENDPOINT": at.url}
        if federated:
            token = tmp_path / "token"
            token.write_text(arm.authority.federated)
            environ |= {
                "AZURE_TENANT_ID": TENANT,
                "AZURE_CLIENT_ID": CLIENT,
                "AZURE_FEDERATED_TOKEN_FILE": str(token),
                "AZURE_AUTHORITY_HOST": at.url,
            }
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", at.metadata_url)
        pools = sdk.connect(read_target(environ), connection_verify=at.ca_file)
        assert await pools.list() == []
        assert await pools.get("ws1") is None
        assert not await pools.is_stopped()
        made = await pools.create("ws1", pool(nodeLabels={"a": "b"}))
        assert (made.name, made.state, made.labels) == ("ws1", "Creating", {"a": "b"})
        with pytest.raises(PoolExistsError):
            await pools.create("ws1", pool())
        await pools.create("ws2", pool())
        assert {found.name for found in await pools.list()} == {"ws1", "ws2"}
        cluster.pools["ws1"].state = "Succeeded"
        found = await pools.get("ws1")
        assert found is not None
        await pools.delete(found)
        assert cluster.pools["ws1"].state == "Deleting"
        await pools.close()
    assert len(arm.requests("token" if federated else "metadata")) == 1
    assert cluster.births == {"ws1": 1, "ws2": 1}


@pytest.mark.parametrize(
    ("power", "state", "stopped"),
    [
        ("Running", "Succeeded", False),
        ("Stopped", "Succeeded", True),
        ("Running", "Stopping", True),
        ("Running", "Starting", True),
    ],
)
async def test_a_pool_is_stopped_until_it_has_started(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    power: str,
    state: str,
    stopped: bool,
) -> None:
    cluster = Cluster(AKS, SystemClock())
    arm = Emulator(cluster)
    async with serve(arm, tmp_path) as at:
        environ = NAMED["aks"] | {"AZURE_RESOURCE_MANAGER_ENDPOINT": at.url}
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", at.metadata_url)
        pools = sdk.connect(read_target(environ), connection_verify=at.ca_file)
        await pools.create("ws1", pool())
        cluster.pools["ws1"].power, cluster.pools["ws1"].state = power, state
        found = await pools.get("ws1")
        await pools.close()
    assert found is not None
    assert found.stopped is stopped


async def test_an_error_keeps_its_code_its_words_and_its_pause(tmp_path: Path) -> None:
    arm = Emulator(Cluster(AKS, SystemClock()))
    arm.faults = Script()
    arm.faults.add("list", Refuse(refusals.throttled(7)))
    async with serve(arm, tmp_path) as at:
        token = tmp_path / "token"
        token.write_text(arm.authority.federated)
        environ = NAMED["aks"] | {
            "AZURE_RESOURCE_MANAGER_ENDPOINT": at.url,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_FEDERATED_TOKEN_FILE": str(token),
            "AZURE_AUTHORITY_HOST": at.url,
        }
        pools = sdk.connect(read_target(environ), connection_verify=at.ca_file)
        with pytest.raises(CloudError, match="too many requests") as raised:
            await pools.list()
        await pools.close()
    error = raised.value
    assert (error.status, error.retry_after, error.transient) == (429, 7.0, True)
    assert error.codes == ("SubscriptionRequestsThrottled",)


async def test_a_server_that_is_not_there_does_not_answer() -> None:
    environ = NAMED["aks"] | {
        "AZURE_RESOURCE_MANAGER_ENDPOINT": "https://127.0.0.1:1",
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": CLIENT,
        "AZURE_FEDERATED_TOKEN_FILE": __file__,
        "AZURE_AUTHORITY_HOST": "https://127.0.0.1:1",
    }
    pools = await session.connect(read_target(environ))
    with pytest.raises(CloudError) as raised:
        await pools.list()
    await pools.close()
    assert not raised.value.answered


async def test_sdks_that_are_not_installed_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, sdk.__name__)
    monkeypatch.delattr(azure_arm, "sdk")
    monkeypatch.setitem(sys.modules, "azure.mgmt.containerservice.aio", None)
    with pytest.raises(NotConfiguredError, match=r"install pykaito\[azure\]"):
        await session.connect(read_target(NAMED["aks"]))


async def test_the_sdks_are_not_imported_with_the_provisioner() -> None:
    script = (
        "import sys, pykaito.provisioners.azure_arm.provisioner;"
        "sys.exit('azure.core' in sys.modules)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() == 0
