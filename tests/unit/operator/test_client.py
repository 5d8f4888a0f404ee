"""The client's verbs, through a real kr8s session, against a scripted server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from pykaito.operator.client import Client
from pykaito.operator.errors import (
    AlreadyExistsError,
    ApiError,
    ApplyConflictError,
    ConflictError,
    ExpiredError,
    FieldConflict,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
    TransportError,
)
from pykaito.operator.frozen import freeze
from pykaito.operator.objects import DEPLOYMENTS, LEASES, NODES, PODS
from tests.unit.operator.api_server import (
    Answer,
    ApiServer,
    Silence,
    failure,
    kubeconfig,
    serve,
)

POD = {"metadata": {"name": "a", "namespace": "ns"}, "spec": {}}
ONE_POD = "/api/v1/namespaces/ns/pods/a"
ALL_PODS = "/api/v1/pods"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serve() as running:
        yield running


@pytest.fixture
async def client(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    connected = await Client.connect(kubeconfig=kubeconfig(tmp_path, server.url))
    yield connected
    await connected.close()


@pytest.fixture
async def impatient(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    """A client that waits for no answer long."""
    connected = await Client.connect(
        kubeconfig=kubeconfig(tmp_path, server.url), request_seconds=0.5
    )
    yield connected
    await connected.close()


async def test_connecting_sends_nothing(server: ApiServer, client: Client) -> None:
    assert client.namespace == "home"
    assert server.received == []


async def test_get_returns_the_object_of_a_namespace(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", ONE_POD, Answer(POD))
    assert await client.get(PODS, "a", "ns") == POD
    [request] = server.received
    assert request.headers["Authorization"] == "Bearer t0k3n"
    assert request.headers["User-Agent"] == "pykaito"


async def test_get_of_a_missing_object_is_one_request(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", ONE_POD, failure(404, "NotFound", 'pods "a" not found'))
    with pytest.raises(NotFoundError, match='404 NotFound: pods "a" not found'):
        await client.get(PODS, "a", "ns")
    assert len(server.received) == 1


async def test_a_forbidden_request_is_sent_once(
    server: ApiServer, client: Client
) -> None:
    path = "/api/v1/namespaces/ns/pods"
    server.on("POST", path, failure(403, "Forbidden", "no"))
    with pytest.raises(ForbiddenError):
        await client.create(PODS, POD)
    assert len(server.received) == 1


async def test_a_list_is_fetched_in_pages_of_one_version(
    server: ApiServer, client: Client
) -> None:
    server.on(
        "GET",
        ALL_PODS,
        Answer({"metadata": {"resourceVersion": "7", "continue": "c"}, "items": [POD]}),
        Answer({"metadata": {"resourceVersion": "7"}, "items": [POD, POD]}),
    )
    listed = await client.list(PODS, label_selector="app=x", limit=1)
    assert (len(listed.items), listed.resource_version) == (3, "7")
    first, second = (request.query for request in server.received)
    assert first == {"labelSelector": "app=x", "limit": "1"}
    assert second == first | {"continue": "c"}


async def test_listed_objects_say_their_kind_as_single_ones_do(
    server: ApiServer, client: Client
) -> None:
    item = {"metadata": {"name": "a", "namespace": "ns"}}
    body = {"metadata": {"resourceVersion": "7"}, "items": [item]}
    server.on("GET", "/apis/apps/v1/deployments", Answer(body))
    [listed] = (await client.list(DEPLOYMENTS)).items
    assert (listed["apiVersion"], listed["kind"]) == ("apps/v1", "Deployment")


async def test_a_list_of_metadata_asks_each_page_for_nothing_else(
    server: ApiServer, client: Client
) -> None:
    page = {"metadata": {"resourceVersion": "7"}, "items": [POD]}
    first = page | {"metadata": {"resourceVersion": "7", "continue": "c"}}
    server.on("GET", ALL_PODS, Answer(first), Answer(page))
    await client.list(PODS, metadata_only=True)
    assert [request.headers["Accept"] for request in server.received] == [
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    ] * 2


async def test_a_list_asks_for_whole_objects(server: ApiServer, client: Client) -> None:
    server.on(
        "GET", ALL_PODS, Answer({"metadata": {"resourceVersion": "7"}, "items": []})
    )
    await client.list(PODS)
    assert server.received[0].headers["Accept"] == "application/json"


async def test_a_list_without_items_is_empty(server: ApiServer, client: Client) -> None:
    body = {"metadata": {"resourceVersion": "7"}, "items": None}
    server.on("GET", ALL_PODS, Answer(body))
    assert (await client.list(PODS)).items == []


async def test_an_expired_page_makes_the_list_start_over_in_one_piece(
    server: ApiServer, client: Client
) -> None:
    server.on(
        "GET",
        ALL_PODS,
        Answer({"metadata": {"resourceVersion": "7", "continue": "c"}, "items": [POD]}),
        failure(410, "Expired"),
        Answer({"metadata": {"resourceVersion": "9"}, "items": [POD]}),
    )
    listed = await client.list(PODS)
    assert (len(listed.items), listed.resource_version) == (1, "9")
    assert server.received[-1].query == {}


async def test_a_list_that_expires_at_once_is_an_error(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", ALL_PODS, failure(410, "Expired"))
    with pytest.raises(ExpiredError):
        await client.list(PODS)
    assert len(server.received) == 1


async def test_apply_is_a_server_side_apply_that_does_not_force(
    server: ApiServer, client: Client
) -> None:
    server.on("PATCH", ONE_POD, Answer(POD))
    await client.apply(PODS, POD, field_manager="me")
    [request] = server.received
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert request.query == {"fieldManager": "me", "force": "false"}
    assert request.json() == POD


async def test_apply_reaches_a_subresource_forced_and_as_a_dry_run(
    server: ApiServer, client: Client
) -> None:
    server.on("PATCH", f"{ONE_POD}/status", Answer(POD))
    await client.apply(
        PODS, POD, field_manager="me", subresource="status", force=True, dry_run=True
    )
    [request] = server.received
    assert request.query == {"fieldManager": "me", "force": "true", "dryRun": "All"}


async def test_apply_takes_an_object_from_the_cache(
    server: ApiServer, client: Client
) -> None:
    server.on("PATCH", ONE_POD, Answer(POD))
    await client.apply(PODS, freeze(POD), field_manager="me")
    assert server.received[0].json() == POD


async def test_an_apply_conflict_names_fields_and_their_managers(
    server: ApiServer, client: Client
) -> None:
    message = 'conflict with "kubectl-edit" using apps/v1'
    cause = {
        "reason": "FieldManagerConflict",
        "message": message,
        "field": ".spec.replicas",
    }
    server.on("PATCH", ONE_POD, failure(409, "Conflict", details={"causes": [cause]}))
    with pytest.raises(ApplyConflictError) as raised:
        await client.apply(PODS, POD, field_manager="me")
    assert raised.value.conflicts == (
        FieldConflict(".spec.replicas", "kubectl-edit", message),
    )


async def test_creating_what_exists_and_replacing_what_changed_are_two_errors(
    server: ApiServer, client: Client
) -> None:
    lease = {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "1"}}
    path = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
    server.on("POST", path, failure(409, "AlreadyExists"))
    server.on("PUT", f"{path}/a", failure(409, "Conflict"))
    with pytest.raises(AlreadyExistsError):
        await client.create(LEASES, lease)
    with pytest.raises(ConflictError):
        await client.replace(LEASES, lease)


async def test_patch_sends_the_content_type_that_it_is_given(
    server: ApiServer, client: Client
) -> None:
    server.on("PATCH", "/api/v1/nodes/n", Answer({}))
    await client.patch(NODES, "n", {"metadata": {"labels": {"a": None}}})
    await client.patch(
        NODES,
        "n",
        [{"op": "remove", "path": "/metadata/labels/a"}],
        content_type="application/json-patch+json",
    )
    assert [request.headers["Content-Type"] for request in server.received] == [
        "application/merge-patch+json",
        "application/json-patch+json",
    ]


async def test_delete_says_which_object_it_means(
    server: ApiServer, client: Client
) -> None:
    server.on("DELETE", ONE_POD, Answer({}))
    await client.delete(PODS, "a", namespace="ns", uid="u", propagation="Foreground")
    assert server.received[0].json() == {
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": "u"},
    }


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a?x"])
async def test_a_name_that_would_reach_something_else_is_not_sent(
    server: ApiServer, client: Client, name: str
) -> None:
    with pytest.raises(ValueError, match="is no name of an object of pods"):
        await client.delete(PODS, name, namespace="ns")
    assert server.received == []


async def test_a_missing_or_needless_namespace_is_the_callers_mistake(
    client: Client,
) -> None:
    with pytest.raises(ValueError, match="pods need a namespace to GET 'a'"):
        await client.get(PODS, "a")
    with pytest.raises(ValueError, match="nodes are cluster-scoped"):
        await client.get(NODES, "a", "ns")


async def test_an_invalid_object_is_an_error_that_names_the_fields(
    server: ApiServer, client: Client
) -> None:
    causes = [{"field": "spec.x", "reason": "FieldValueInvalid"}]
    server.on("PATCH", ONE_POD, failure(422, "Invalid", details={"causes": causes}))
    with pytest.raises(InvalidError) as raised:
        await client.apply(PODS, POD, field_manager="me")
    assert raised.value.details["causes"] == causes


@pytest.mark.parametrize("code", [429, 503])
async def test_a_server_that_names_a_time_to_come_back_is_obeyed(
    server: ApiServer, client: Client, code: int
) -> None:
    busy = failure(code, "Busy", headers={"Retry-After": "0"})
    server.on("PATCH", ONE_POD, busy, busy, Answer(POD))
    assert await client.apply(PODS, POD, field_manager="me") == POD
    assert [request.json() for request in server.received] == [POD] * 3


async def test_a_server_that_stays_busy_is_asked_six_times_at_most(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", ONE_POD, failure(429, "Busy", headers={"Retry-After": "0"}))
    with pytest.raises(TooManyRequestsError):
        await client.get(PODS, "a", "ns")
    assert len(server.received) == 6


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "31"}])
async def test_a_busy_server_with_no_time_or_a_far_one_is_the_callers_to_wait_for(
    server: ApiServer, client: Client, headers: dict[str, str]
) -> None:
    server.on("GET", ONE_POD, failure(429, "Busy", headers=headers))
    with pytest.raises(TooManyRequestsError) as raised:
        await client.get(PODS, "a", "ns")
    assert len(server.received) == 1
    assert raised.value.retry_after == (31.0 if headers else None)


async def test_a_server_error_is_not_repeated(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", ONE_POD, failure(500, "InternalError", "etcd is away"))
    with pytest.raises(ServerError, match="500 InternalError: etcd is away"):
        await client.get(PODS, "a", "ns")
    assert len(server.received) == 1


async def test_a_page_of_some_proxy_is_an_error_that_quotes_it(
    server: ApiServer, client: Client
) -> None:
    server.on("GET", ONE_POD, Answer(b"<h1>Sign in</h1>"))
    with pytest.raises(ServerError, match="Sign in"):
        await client.get(PODS, "a", "ns")
    server.on("GET", ONE_POD, Answer(b"<h1>Bad gateway</h1>", 502))
    with pytest.raises(ServerError, match="502: <h1>Bad gateway</h1>"):
        await client.get(PODS, "a", "ns")


async def test_a_redirect_is_not_followed(server: ApiServer, client: Client) -> None:
    server.on("GET", ONE_POD, Answer(b"", 302, {"Location": "/api/v1/pods"}))
    with pytest.raises(ApiError, match="302"):
        await client.get(PODS, "a", "ns")
    assert len(server.received) == 1


async def test_a_server_that_never_answers_is_given_up(
    server: ApiServer, impatient: Client
) -> None:
    server.on("GET", ONE_POD, Silence())
    with pytest.raises(TransportError, match=f"no answer from GET .*{ONE_POD}"):
        await impatient.get(PODS, "a", "ns")


async def test_a_server_that_is_not_there_is_an_error_of_the_transport(
    tmp_path: Path,
) -> None:
    client = await Client.connect(
        kubeconfig=kubeconfig(tmp_path, "http://127.0.0.1:1"), request_seconds=5
    )
    with pytest.raises(TransportError):
        await client.get(NODES, "n")
    await client.close()


async def test_a_path_in_the_servers_address_comes_before_the_apis(
    server: ApiServer, tmp_path: Path
) -> None:
    server.on("GET", "/k8s/clusters/c/api/v1/nodes/n", Answer({"kind": "Node"}))
    url = f"{server.url}/k8s/clusters/c"
    client = await Client.connect(kubeconfig=kubeconfig(tmp_path, url))
    assert await client.get(NODES, "n") == {"kind": "Node"}
    await client.close()


@pytest.mark.parametrize("answer", [{}, {"items": []}, {"metadata": {}, "items": {}}])
async def test_an_answer_that_is_no_list_is_an_error_that_quotes_it(
    server: ApiServer, client: Client, answer: object
) -> None:
    server.on("GET", ALL_PODS, Answer(answer))
    with pytest.raises(ServerError, match="the answer is no list"):
        await client.list(PODS)


async def test_what_before_write_raises_keeps_a_write_from_being_sent(
    server: ApiServer, client: Client
) -> None:
    def refuse(resource: object) -> None:
        raise RuntimeError(f"no lease to write {resource}")

    client.before_write = refuse
    server.on("GET", ONE_POD, Answer(POD))
    await client.get(PODS, "a", "ns")
    for write in (
        client.create(PODS, POD),
        client.apply(PODS, POD, field_manager="me"),
        client.patch(PODS, "a", {}, namespace="ns"),
        client.replace(PODS, POD),
        client.delete(PODS, "a", namespace="ns"),
    ):
        with pytest.raises(RuntimeError, match="no lease to write pods"):
            await write
    assert len(server.received) == 1


async def test_a_write_is_not_sent_again_once_the_lease_is_lost(
    server: ApiServer, client: Client
) -> None:
    left = 1

    def check(resource: object) -> None:
        nonlocal left
        if not left:
            raise RuntimeError(f"no lease to write {resource}")
        left -= 1

    client.before_write = check
    busy = failure(429, "Busy", headers={"Retry-After": "0"})
    server.on("PATCH", ONE_POD, busy, Answer(POD))
    with pytest.raises(RuntimeError, match="no lease to write pods"):
        await client.apply(PODS, POD, field_manager="me")
    assert len(server.received) == 1


async def test_what_every_replica_may_write_asks_for_no_lease(
    server: ApiServer, client: Client
) -> None:
    def refuse(resource: object) -> None:
        raise RuntimeError(f"no lease to write {resource}")

    unelected = client.unelected()
    client.before_write = refuse
    server.on("PUT", ONE_POD, Answer(POD))
    assert await unelected.replace(PODS, POD) == POD


async def test_requests_are_counted_by_code_method_and_host(
    server: ApiServer, client: Client, impatient: Client
) -> None:
    host = server.url.removeprefix("http://")

    def counted() -> list[float]:
        requests = {"method": "GET", "host": host}
        counts = (
            REGISTRY.get_sample_value(
                "rest_client_requests_total", requests | {"code": code}
            )
            for code in ("429", "200", "<error>")
        )
        return [count or 0 for count in counts]

    # An earlier server may have had the same port.
    before = counted()
    busy = failure(429, "Busy", headers={"Retry-After": "0"})
    server.on("GET", ONE_POD, busy, Answer(POD), Silence())
    await client.get(PODS, "a", "ns")
    with pytest.raises(TransportError):
        await impatient.get(PODS, "a", "ns")
    assert counted() == [count + 1 for count in before]
