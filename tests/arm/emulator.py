"""An emulator of Azure Resource Manager, as far as agent pools need it.

It stands in for https://management.azure.com with the agent pools of AKS
(Microsoft.ContainerService) and of AKS Arc (Microsoft.HybridContainerService),
and for what gives out tokens: Microsoft Entra ID by a federated token and the
metadata service of a machine. It speaks their protocols, so that Azure's own SDKs
drive it unmodified; what a request may carry is held against the SDKs' models.

It is an emulator: quotas, capacity and nodes are what a test says they are, and
the wording of its errors is its own. How long operations take is a matter of its
clock, which may be virtual.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pykaito.operator.clock import Clock, SystemClock
from tests.arm import refusals
from tests.arm.authority import TENANT, Authority
from tests.arm.cluster import Cluster, Operation, Pool
from tests.arm.faults import Cut, Ends, Faults, Refuse, Script, Slow
from tests.arm.nodes import node_resource_group
from tests.arm.refusals import Answer, Refusal, RefusedError

_ARC = "/providers/Microsoft.HybridContainerService/provisionedClusterInstances/default"
_RESOURCE = re.compile(
    r"(?P<id>/subscriptions/[^/]+/resourceGroups/[^/]+/providers/"
    r"(Microsoft\.ContainerService/managedClusters/[^/]+"
    rf"|Microsoft\.Kubernetes/connectedClusters/[^/]+(?={_ARC})))"
    rf"({_ARC})?(?P<pools>/agentPools(/(?P<pool>[^/]+))?)?",
    re.IGNORECASE,
)
_OPERATION = re.compile(
    r"/subscriptions/[^/]+/providers/[^/]+/locations/[^/]+"
    r"/(?P<what>operations|operationresults)/(?P<name>[^/]+)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"/(?P<tenant>[^/]+)/oauth2/v2\.0/token")
_METADATA = "/metadata/identity/oauth2/token"

#: What a signed URL carries: of no use to anybody but secret all the same.
SIGNATURE = "s=3Qm7dGVzdC1zaWduYXR1cmU"


@dataclass(frozen=True)
class Request:
    """A request as it came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Entry:
    """A line of the ledger; `status` is 0 where the connection was cut."""

    verb: str
    pool: str
    status: int
    at: float


class CutError(Exception):
    """The connection is to be broken instead of an answer."""


class Emulator:
    """Answers requests; `tests.arm.server` puts it on a socket.

    Attributes:
        ledger: every request that was answered or cut, in order.
        faults: what requests meet; a test may change it at any time.
        page_size: how many pools a page of a list holds.
    """

    def __init__(
        self,
        *clusters: Cluster,
        clock: Clock | None = None,
        faults: Faults | None = None,
        page_size: int = 50,
    ) -> None:
        self.clusters = {cluster.id.lower(): cluster for cluster in clusters}
        self.clock = clock or SystemClock()
        self.faults = faults or Script()
        self.page_size = page_size
        self.authority = Authority()
        self.ledger: list[Entry] = []

    def requests(self, verb: str, pool: str = "") -> list[Entry]:
        """Return the entries of the ledger of a kind."""
        return [e for e in self.ledger if e.verb == verb and pool in {"", e.pool}]

    async def close(self) -> None:
        """Give up the operations under way."""
        for cluster in self.clusters.values():
            await cluster.close()

    async def handle(self, request: Request) -> Answer:
        """Answer a request.

        Raises:
            CutError: there is no answer, the connection is to break.
        """
        verb, match = _verb(request)
        pool = ((match and match.groupdict().get("pool")) or "") if match else ""
        answer: Answer | None = None
        try:
            answer = await self._meet(verb, pool, request, match)
        except RefusedError as error:
            answer = error.refusal.answer()
        finally:
            status = answer.status if answer else 0
            self.ledger.append(Entry(verb, pool, status, self.clock.monotonic()))
        return answer

    async def _meet(
        self, verb: str, pool: str, request: Request, match: re.Match[str] | None
    ) -> Answer:
        effect = self.faults.strike(verb, pool)
        if isinstance(effect, Refuse):
            raise RefusedError(effect.refusal)
        if effect == Cut(after=False):
            raise CutError
        try:
            answer = self._serve(verb, request, match, effect)
        except RefusedError as error:
            answer = error.refusal.answer()
        if effect == Cut(after=True):
            raise CutError
        if isinstance(effect, Slow):
            await self.clock.sleep(effect.seconds)
        return answer

    def _serve(
        self, verb: str, request: Request, match: re.Match[str] | None, effect: Any
    ) -> Answer:
        if verb == "token" and match:
            return self.authority.exchange(match["tenant"], request.body)
        if verb == "metadata":
            return self.authority.metadata(request.query, request.headers)
        self._authenticate(request)
        if "api-version" not in request.query:
            raise RefusedError(
                Refusal(400, "MissingApiVersionParameter", "api-version is missing")
            )
        if verb == "operation" and match:
            return self._operation(match["what"].lower(), match["name"])
        if match is None or verb == "unknown":
            raise RefusedError(refusals.resource_not_found(request.path))
        cluster = self.clusters.get(match["id"].lower())
        if cluster is None:
            raise RefusedError(refusals.resource_not_found(match["id"]))
        ends = effect if isinstance(effect, Ends) else Ends()
        return self._cluster(verb, cluster, match["pool"], request, ends)

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        authority = f"https://{request.headers.get('Host', '')}/{TENANT}"
        if scheme != "Bearer":
            code, why = "AuthenticationFailed", "The Authorization header is missing."
        elif not self.authority.knows(token):
            code, why = "InvalidAuthenticationToken", "The access token is invalid."
        else:
            return
        raise RefusedError(refusals.unauthenticated(code, why, authority))

    def _cluster(
        self, verb: str, cluster: Cluster, pool: str, request: Request, ends: Ends
    ) -> Answer:
        match verb:
            case "cluster":
                return Answer(body=_render_cluster(cluster))
            case "list":
                return self._page(cluster, request)
            case "get":
                return Answer(body=_render(cluster, cluster.get(pool)))
            case "delete":
                return self._delete(cluster, pool, request, ends)
        try:
            body = json.loads(request.body)
        except ValueError:
            raise RefusedError(refusals.invalid("body", "it is no JSON")) from None
        status = HTTPStatus.OK if pool in cluster.pools else HTTPStatus.CREATED
        there, operation = cluster.put(
            pool,
            body,
            ends,
            only_new=request.headers.get("If-None-Match") == "*",
            etag=_etag(request),
        )
        headers = _operation_headers(cluster, operation, request)
        del headers["Location"]
        return Answer(status, _render(cluster, there), headers)

    def _delete(
        self, cluster: Cluster, pool: str, request: Request, ends: Ends
    ) -> Answer:
        operation = cluster.delete(pool, ends, etag=_etag(request))
        if operation is None:
            return Answer(HTTPStatus.NO_CONTENT)
        headers = _operation_headers(cluster, operation, request)
        return Answer(HTTPStatus.ACCEPTED, headers=headers)

    def _page(self, cluster: Cluster, request: Request) -> Answer:
        pools = list(cluster.list())
        start = int(request.query.get("$skipToken", "0"))
        end = start + self.page_size
        body: dict[str, Any] = {
            "value": [_render(cluster, pool) for pool in pools[start:end]]
        }
        if end < len(pools):
            body["nextLink"] = (
                f"https://{request.headers['Host']}{request.path}"
                f"?api-version={request.query['api-version']}&%24skipToken={end}"
            )
        return Answer(body=body)

    def _operation(self, what: str, name: str) -> Answer:
        operation = next(
            (
                c.operations[name]
                for c in self.clusters.values()
                if name in c.operations
            ),
            None,
        )
        if operation is None or operation.ends.lost:
            raise RefusedError(refusals.resource_not_found(name))
        under_way = operation.status == "InProgress"
        if what == "operationresults":
            return Answer(HTTPStatus.ACCEPTED if under_way else HTTPStatus.NO_CONTENT)
        body: dict[str, Any] = {
            "name": operation.name,
            "status": operation.status,
            "startTime": operation.started_at.isoformat(),
        }
        if operation.ends.failure and not under_way:
            body["error"] = operation.ends.failure.error()
        return Answer(body=body, headers={"Retry-After": "1"} if under_way else {})


def _verb(request: Request) -> tuple[str, re.Match[str] | None]:
    if request.path == _METADATA:
        return "metadata", None
    if match := _TOKEN.fullmatch(request.path):
        return "token", match
    if match := _OPERATION.fullmatch(request.path):
        return "operation", match
    match = _RESOURCE.fullmatch(request.path)
    method = request.method.lower()
    if match and match["pool"] and method in {"get", "put", "delete"}:
        return method, match
    if match and method == "get":
        return ("list" if match["pools"] else "cluster"), match
    return "unknown", None


def _etag(request: Request) -> str:
    return request.headers.get("If-Match", "").strip('"')


def _operation_headers(
    cluster: Cluster, operation: Operation, request: Request
) -> dict[str, str]:
    subscription = cluster.id.split("/")[2]
    provider = "ContainerService" if cluster.kind == "aks" else "HybridContainerService"
    base = (
        f"https://{request.headers['Host']}/subscriptions/{subscription}"
        f"/providers/Microsoft.{provider}/locations/{cluster.location}"
    )
    signed = f"{operation.name}?api-version=2017-08-31&t=1&c=2&{SIGNATURE}&h=4"
    return {
        "Azure-AsyncOperation": f"{base}/operations/{signed}",
        "Location": f"{base}/operationresults/{signed}",
        "Retry-After": "1",
    }


def _render_cluster(cluster: Cluster) -> dict[str, Any]:
    if cluster.kind == "arc":
        return {
            "id": f"{cluster.id}{_ARC}",
            "name": "default",
            "properties": {"provisioningState": "Succeeded"},
        }
    power = "Stopped" if cluster.stopped else "Running"
    return {
        "id": cluster.id,
        "name": cluster.name,
        "location": cluster.location,
        "properties": {
            "provisioningState": "Succeeded",
            "powerState": {"code": power},
            "nodeResourceGroup": node_resource_group(cluster),
        },
    }


def _render(cluster: Cluster, pool: Pool) -> dict[str, Any]:
    properties = {**pool.properties, "provisioningState": pool.state}
    if cluster.kind == "arc":
        status = {"currentState": pool.state}
        if pool.error:
            status["errorMessage"] = f"{pool.error.code}: {pool.error.message}"
        return {
            "id": f"{cluster.id}{_ARC}/agentPools/{pool.name}",
            "name": pool.name,
            "properties": {**properties, "status": status},
            "tags": pool.tags,
        }
    properties |= {
        "eTag": pool.etag,
        "powerState": {"code": pool.power},
        "tags": pool.tags,
    }
    if pool.error:
        properties["status"] = {"provisioningError": pool.error.error()}
    return {
        "id": f"{cluster.id}/agentPools/{pool.name}",
        "name": pool.name,
        "type": "Microsoft.ContainerService/managedClusters/agentPools",
        "properties": properties,
    }
