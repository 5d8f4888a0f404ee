"""Azure's SDKs: the only module that imports them.

They cost 45 MiB and half a second, so this one is imported when it is needed first.
They are told to try nothing twice and to follow no operation: what to try again is
decided in `session`, and a pool itself says how far it is.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast, final

import orjson
from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ODataV4Format,
)
from azure.identity.aio import ManagedIdentityCredential, WorkloadIdentityCredential
from azure.mgmt.containerservice.aio import ContainerServiceClient
from azure.mgmt.containerservice.models import AgentPool as AksPool
from azure.mgmt.containerservice.models import PowerState
from azure.mgmt.hybridcontainerservice.aio import HybridContainerServiceMgmtClient
from azure.mgmt.hybridcontainerservice.models import AgentPool as ArcPool
from azure.mgmt.hybridcontainerservice.models import AgentPoolProperties

from pykaito.provisioners.azure_arm.cloud import AgentPools, PoolExistsError
from pykaito.provisioners.azure_arm.failures import CloudError, from_error
from pykaito.provisioners.azure_arm.pool import Pool
from pykaito.provisioners.azure_arm.settings import Credentials, Target

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0

_PRECONDITION = 412
_STOPPING_OR_STARTING = frozenset({"Stopping", "Starting"})

_QUIET: Mapping[str, Any] = {
    "retry_total": 0,
    "connection_timeout": CONNECT_SECONDS,
    "read_timeout": READ_SECONDS,
}


def connect(target: Target, **options: Any) -> AgentPools:
    """Return the agent pools of a cluster; nothing is sent yet.

    Args:
        target: the cluster.
        options: of azure-core's pipelines, such as `transport`.
    """
    options = {**_QUIET, **options}
    credential = _credential(target.credentials, options)
    return (_Aks if target.kind == "aks" else _Arc)(target, credential, options)


def _credential(
    who: Credentials, options: Mapping[str, Any]
) -> WorkloadIdentityCredential | ManagedIdentityCredential:
    if not who.federated:
        return ManagedIdentityCredential(client_id=who.client_id or None, **options)
    return WorkloadIdentityCredential(
        tenant_id=who.tenant_id,
        client_id=who.client_id,
        token_file_path=who.token_file,
        authority=who.authority or None,
        **options,
    )


@final
class _Aks(AgentPools):
    """The agent pools of an AKS cluster."""

    def __init__(
        self, target: Target, credential: AsyncTokenCredential, options: dict[str, Any]
    ) -> None:
        self._at = target.group, target.cluster
        self._credential = credential
        self._client = ContainerServiceClient(
            credential,
            target.subscription,
            target.endpoint,
            credential_scopes=[f"{target.endpoint}/.default"],
            **options,
        )

    async def list(self) -> list[Pool]:
        with _translated():
            found = self._client.agent_pools.list(*self._at)
            return [_from_aks(pool) async for pool in found]

    async def get(self, name: str) -> Pool | None:
        try:
            with _translated():
                return _from_aks(await self._client.agent_pools.get(*self._at, name))
        except CloudError as error:
            if error.lacks_pool:
                return None
            raise

    async def create(self, name: str, body: Mapping[str, Any]) -> Pool:
        try:
            with _translated():
                # The service itself refuses to touch a pool that there is.
                poller = await self._client.agent_pools.begin_create_or_update(
                    *self._at,
                    name,
                    cast("Any", orjson.dumps(body)),
                    match_condition=MatchConditions.IfMissing,
                    polling=False,
                )
                return _from_aks(await poller.result())
        except CloudError as error:
            if error.status == _PRECONDITION:
                raise PoolExistsError(name) from None
            raise

    async def delete(self, pool: Pool) -> None:
        condition: dict[str, Any] = {}
        if pool.etag:
            unmodified = MatchConditions.IfNotModified
            condition = {"etag": pool.etag, "match_condition": unmodified}
        with _translated():
            await self._client.agent_pools.begin_delete(
                *self._at, pool.name, polling=False, **condition
            )

    async def is_stopped(self) -> bool:
        with _translated():
            found = await self._client.managed_clusters.get(*self._at)
        return _is_stopped(found.power_state)

    async def close(self) -> None:
        await self._client.close()
        await self._credential.close()


@final
class _Arc(AgentPools):
    """The agent pools of an AKS Arc cluster, whose API knows no conditions."""

    def __init__(
        self, target: Target, credential: AsyncTokenCredential, options: dict[str, Any]
    ) -> None:
        self._cluster = target.connected_cluster
        self._credential = credential
        self._client = HybridContainerServiceMgmtClient(
            credential,
            target.subscription,
            target.endpoint,
            credential_scopes=[f"{target.endpoint}/.default"],
            **options,
        )

    async def list(self) -> list[Pool]:
        with _translated():
            found = self._client.agent_pool.list_by_provisioned_cluster(self._cluster)
            return [_from_arc(pool) async for pool in found]

    async def get(self, name: str) -> Pool | None:
        try:
            with _translated():
                pools = self._client.agent_pool
                return _from_arc(await pools.get(self._cluster, name))
        except CloudError as error:
            if error.lacks_pool:
                return None
            raise

    async def create(self, name: str, body: Mapping[str, Any]) -> Pool:
        if await self.get(name) is not None:
            raise PoolExistsError(name)
        with _translated():
            poller = await self._client.agent_pool.begin_create_or_update(
                self._cluster, name, cast("Any", orjson.dumps(body)), polling=False
            )
            return _from_arc(await poller.result())

    async def delete(self, pool: Pool) -> None:
        with _translated():
            await self._client.agent_pool.begin_delete(
                self._cluster, pool.name, polling=False
            )

    async def is_stopped(self) -> bool:
        return False

    async def close(self) -> None:
        await self._client.close()
        await self._credential.close()


def _from_aks(found: AksPool) -> Pool:
    failed = found.status.provisioning_error if found.status else None
    return Pool(
        name=found.name or "",
        state=found.provisioning_state or "",
        size=found.vm_size or "",
        etag=found.e_tag or "",
        stopped=_is_stopped(found.power_state)
        or found.provisioning_state in _STOPPING_OR_STARTING,
        labels=dict(found.node_labels or {}),
        tags=dict(found.tags or {}),
        error=from_error(failed.as_dict()) if failed else None,
    )


def _is_stopped(power: PowerState | None) -> bool:
    return power is not None and power.code == "Stopped"


def _from_arc(found: ArcPool) -> Pool:
    # Its read-only fields are typed as None.
    properties: Any = found.properties or AgentPoolProperties()
    status = properties.status
    said = status.error_message or "" if status else ""
    # It has no codes beside the sentence, so any word of it may be one.
    error = CloudError(said, codes=re.findall(r"[A-Za-z_]+", said)) if said else None
    return Pool(
        name=str(found.name),
        state=properties.provisioning_state or "",
        size=properties.vm_size or "",
        labels=dict(properties.node_labels or {}),
        tags=dict(found.tags or {}),
        error=error,
    )


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what the SDKs raise into CloudError."""
    try:
        yield
    except HttpResponseError as error:
        raise _refused(error) from None
    except (FileNotFoundError, PermissionError) as error:
        raise CloudError(f"no federated token: {error}", credential=True) from None
    except (AzureError, OSError, ValueError) as error:
        # ValueError: something between answers in Azure's place, and not in JSON.
        raise CloudError(f"no answer: {error}", answered=False) from None


def _refused(error: HttpResponseError) -> CloudError:
    more: dict[str, Any] = {
        "status": error.status_code,
        "retry_after": _retry_after(error),
        "credential": isinstance(error, ClientAuthenticationError),
    }
    if error.error is None:
        return CloudError(str(error.message), **more)
    return from_error(_as_json(error.error), **more)


def _as_json(error: ODataV4Format) -> dict[str, Any]:
    details = [_as_json(detail) for detail in error.details]
    return {"code": error.code, "message": error.message, "details": details}


def _retry_after(error: HttpResponseError) -> float | None:
    """Return the seconds that an answer asks to wait; it may name a date instead."""
    headers = getattr(error.response, "headers", {})
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None
