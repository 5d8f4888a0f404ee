"""Azure's own SDKs, pointed at the emulator."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import WorkloadIdentityCredential
from azure.mgmt.containerservice.aio import ContainerServiceClient
from azure.mgmt.hybridcontainerservice.aio import HybridContainerServiceMgmtClient

from pykaito.operator.clock import Clock
from tests.arm.authority import CLIENT, TENANT
from tests.arm.cluster import Cluster, Kind
from tests.arm.emulator import Emulator
from tests.arm.server import serve_unix

URL = "https://management.test"
SUBSCRIPTION = "5f27b1a2-7c1e-4d86-9e37-1f1c0b7a4c11"
GROUP = "models"
CLUSTER = "prod"
AKS = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    f"/providers/Microsoft.ContainerService/managedClusters/{CLUSTER}"
)
CONNECTED = (
    f"subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    f"/providers/Microsoft.Kubernetes/connectedClusters/{CLUSTER}"
)


def cluster(clock: Clock, kind: Kind = "aks", **known: Any) -> Cluster:
    return Cluster(AKS if kind == "aks" else f"/{CONNECTED}", clock, kind, **known)


def pool(size: str = "Standard_NC24ads_A100_v4", **more: Any) -> dict[str, Any]:
    return {"properties": {"count": 1, "vmSize": size, **more}}


@contextlib.asynccontextmanager
async def credential(
    emulator: Emulator, folder: Path, url: str, **options: Any
) -> AsyncIterator[WorkloadIdentityCredential]:
    token = folder / "token"
    token.write_text(emulator.authority.federated)
    found = WorkloadIdentityCredential(
        tenant_id=TENANT,
        client_id=CLIENT,
        token_file_path=str(token),
        authority=url,
        retry_total=0,
        **options,
    )
    async with found:
        yield found


@contextlib.asynccontextmanager
async def aks_client(
    emulator: Emulator, folder: Path, **options: Any
) -> AsyncIterator[ContainerServiceClient]:
    async with (
        serve_unix(emulator, folder) as session,
        credential(emulator, folder, URL, **_by(session)) as found,
        ContainerServiceClient(
            found,
            SUBSCRIPTION,
            URL,
            credential_scopes=[f"{URL}/.default"],
            **{"retry_total": 0, **options, **_by(session)},
        ) as client,
    ):
        yield client


@contextlib.asynccontextmanager
async def arc_client(
    emulator: Emulator, folder: Path
) -> AsyncIterator[HybridContainerServiceMgmtClient]:
    async with (
        serve_unix(emulator, folder) as session,
        credential(emulator, folder, URL, **_by(session)) as found,
        HybridContainerServiceMgmtClient(
            found,
            SUBSCRIPTION,
            URL,
            credential_scopes=[f"{URL}/.default"],
            retry_total=0,
            **_by(session),
        ) as client,
    ):
        yield client


def _by(session: Any) -> dict[str, Any]:
    transport = AioHttpTransport(session=session, session_owner=False)
    return {"transport": transport}
