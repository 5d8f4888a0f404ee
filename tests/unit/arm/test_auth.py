"""Azure's credentials get tokens from the emulator, over real sockets and TLS."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
)
from azure.identity import CredentialUnavailableError
from azure.identity.aio import ManagedIdentityCredential
from azure.mgmt.containerservice.aio import ContainerServiceClient

from pykaito.operator.clock import SystemClock
from tests.arm import refusals
from tests.arm.emulator import Emulator
from tests.arm.faults import Fault, Refuse, Script
from tests.arm.server import Endpoint, serve
from tests.unit.arm.azure import (
    CLUSTER,
    GROUP,
    SUBSCRIPTION,
    cluster,
    credential,
    pool,
)


@pytest.fixture
def arm() -> Emulator:
    return Emulator(cluster(SystemClock()))


@contextlib.asynccontextmanager
async def client(
    at: Endpoint, found: AsyncTokenCredential, *, verify: bool = True
) -> AsyncIterator[ContainerServiceClient]:
    made = ContainerServiceClient(
        found,
        SUBSCRIPTION,
        at.url,
        credential_scopes=[f"{at.url}/.default"],
        connection_verify=at.ca_file if verify else True,
        retry_total=0,
    )
    async with made:
        yield made


async def names(of: ContainerServiceClient) -> list[str | None]:
    return [found.name async for found in of.agent_pools.list(GROUP, CLUSTER)]


async def test_a_federated_token_is_exchanged_once_for_many_requests(
    arm: Emulator, tmp_path: Path
) -> None:
    async with (
        serve(arm, tmp_path) as at,
        credential(arm, tmp_path, at.url, connection_verify=at.ca_file) as found,
        client(at, found) as azure,
    ):
        assert await names(azure) == []
        await azure.agent_pools.begin_create_or_update(
            GROUP, CLUSTER, "ws1", pool(), polling=False
        )
        assert await names(azure) == ["ws1"]
    assert len(arm.requests("token")) == 1


async def test_a_federated_token_that_is_not_trusted_gets_nothing(
    arm: Emulator, tmp_path: Path
) -> None:
    async with (
        serve(arm, tmp_path) as at,
        credential(arm, tmp_path, at.url, connection_verify=at.ca_file) as found,
        client(at, found) as azure,
    ):
        (tmp_path / "token").write_text("eyJhbGciOiJub25lIn0.b3RoZXI.c2ln")
        with pytest.raises(ClientAuthenticationError, match="AADSTS70021") as raised:
            await names(azure)
    assert "eyJ" not in str(raised.value)


async def test_a_managed_identity_gets_a_token(
    arm: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(arm, tmp_path) as at:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", at.metadata_url)
        async with (
            ManagedIdentityCredential(retry_total=0) as found,
            client(at, found) as azure,
        ):
            assert await names(azure) == []


async def test_a_machine_without_an_identity_gets_no_token(
    arm: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm.authority.identity = False
    async with serve(arm, tmp_path) as at:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", at.metadata_url)
        async with (
            ManagedIdentityCredential(retry_total=0) as found,
            client(at, found) as azure,
        ):
            with pytest.raises(CredentialUnavailableError, match="Identity not found"):
                await names(azure)


async def test_a_revoked_token_is_unauthorized_and_replaced(
    arm: Emulator, tmp_path: Path
) -> None:
    async with (
        serve(arm, tmp_path) as at,
        credential(arm, tmp_path, at.url, connection_verify=at.ca_file) as found,
        client(at, found) as azure,
    ):
        assert await names(azure) == []
        arm.authority.revoke()
        with pytest.raises(ClientAuthenticationError) as raised:
            await names(azure)
    assert raised.value.status_code == 401
    assert raised.value.error is not None
    assert raised.value.error.code == "InvalidAuthenticationToken"


async def test_a_role_that_is_missing_is_forbidden(
    arm: Emulator, tmp_path: Path
) -> None:
    arm.faults = Script([Fault("list", Refuse(refusals.forbidden("agentPools/read")))])
    async with (
        serve(arm, tmp_path) as at,
        credential(arm, tmp_path, at.url, connection_verify=at.ca_file) as found,
        client(at, found) as azure,
    ):
        with pytest.raises(HttpResponseError) as raised:
            await names(azure)
    assert raised.value.status_code == 403
    assert raised.value.error is not None
    assert raised.value.error.code == "AuthorizationFailed"


async def test_a_certificate_that_nobody_trusts_stops_the_client(
    arm: Emulator, tmp_path: Path
) -> None:
    async with (
        serve(arm, tmp_path) as at,
        credential(arm, tmp_path, at.url, connection_verify=at.ca_file) as found,
        client(at, found, verify=False) as azure,
    ):
        with pytest.raises(ServiceRequestError, match="certificate"):
            await names(azure)
    assert arm.requests("list") == []
