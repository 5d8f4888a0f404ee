"""Reading a Workspace with the real client: few rights, and a server that is slow."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pykaito.commands import snapshot, status
from pykaito.commands.readings import Outcome
from pykaito.commands.snapshot import Snapshot, read
from pykaito.commands.view import View
from pykaito.operator.client import Client
from pykaito.operator.errors import NotFoundError, TransportError
from tests.unit.cli.objects import (
    NODES_READY,
    loading,
    made_machine,
    node,
    ready,
    workspace,
)
from tests.unit.operator.api_server import (
    Answer,
    ApiServer,
    Silence,
    failure,
    kubeconfig,
    serve,
)

KAITO, CORE, APPS = "/apis/kaito.sh", "/api/v1", "/apis/apps/v1"
EVENTS = "/apis/events.k8s.io/v1/namespaces/team/events"
WORKSPACE = f"{KAITO}/v1beta1/namespaces/team/workspaces/ws"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serve() as running:
        yield running


@pytest.fixture
async def client(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    connected = await Client.connect(kubeconfig=kubeconfig(tmp_path, server.url))
    yield connected
    await connected.close()


def listing(*items: Any) -> Answer:
    return Answer({"metadata": {"resourceVersion": "1"}, "items": list(items)})


def script(server: ApiServer, seen: Snapshot, *events: Any) -> None:
    """Let the server answer with what a snapshot holds."""
    server.on("GET", WORKSPACE, Answer(seen.workspace))
    for path, items in {
        f"{KAITO}/v1alpha1/namespaces/team/machines": seen.machines,
        f"{APPS}/namespaces/team/deployments": seen.deployments,
        f"{CORE}/namespaces/team/pods": seen.pods,
        f"{CORE}/namespaces/team/services": seen.services,
        EVENTS: events,
    }.items():
        server.on("GET", path, listing(*items))
    for there in seen.nodes:
        server.on("GET", f"{CORE}/nodes/{there['metadata']['name']}", Answer(there))


def ignore(_: View) -> None:
    """Follow nothing."""


async def test_everything_is_read_with_get_and_list(
    client: Client, server: ApiServer
) -> None:
    script(server, ready())
    seen = await read(client, "team", "ws")
    assert not seen.unread
    assert [there["metadata"]["name"] for there in seen.nodes] == ["gpu-0"]
    assert {request.method for request in server.received} == {"GET"}
    assert not any("watch" in request.query for request in server.received)


async def test_the_node_that_was_made_for_a_machine_is_read(
    client: Client, server: ApiServer
) -> None:
    script(server, Snapshot(workspace(), [made_machine(nodeName="gpu-0")], [node()]))
    seen = await read(client, "team", "ws")
    assert [there["metadata"]["name"] for there in seen.nodes] == ["gpu-0"]


async def test_warnings_are_those_about_the_workspaces_own_objects(
    client: Client, server: ApiServer
) -> None:
    def event(regarding: str) -> dict[str, Any]:
        about = {"name": regarding}
        return {"metadata": {"name": "e"}, "regarding": about, "note": regarding}

    script(server, ready(), event("ws-pod"), event("someone-elses"))
    seen = await read(client, "team", "ws")
    assert [warning["note"] for warning in seen.warnings] == ["ws-pod"]
    assert server.requests("GET", EVENTS)[0].query["fieldSelector"] == "type=Warning"


async def test_what_may_not_be_read_is_noted_and_the_rest_is_there(
    client: Client, server: ApiServer
) -> None:
    script(server, ready())
    server.on("GET", f"{CORE}/nodes/gpu-0", failure(403, "Forbidden"))
    server.on("GET", EVENTS, failure(403, "Forbidden"))
    seen = await read(client, "team", "ws")
    assert seen.unread == {
        "nodes": "not allowed to get nodes",
        "events": "not allowed to list events.events.k8s.io",
    }
    assert seen.pods


async def test_a_node_that_is_gone_is_no_gap(client: Client, server: ApiServer) -> None:
    script(server, ready())
    server.on("GET", f"{CORE}/nodes/gpu-0", failure(404, "NotFound"))
    seen = await read(client, "team", "ws")
    assert seen.nodes == []
    assert not seen.unread


async def test_a_list_that_gets_no_answer_is_given_up_on(
    client: Client, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "REQUEST_SECONDS", 1)
    script(server, ready())
    server.on("GET", f"{CORE}/namespaces/team/pods", Silence())
    seen = await read(client, "team", "ws")
    assert "no answer" in seen.unread["pods"]
    assert seen.machines


async def test_a_workspace_that_does_not_exist_is_an_error(
    client: Client, server: ApiServer
) -> None:
    server.on("GET", WORKSPACE, failure(404, "NotFound"))
    with pytest.raises(NotFoundError):
        await read(client, "team", "ws")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read again without a pause."""
    monkeypatch.setattr(status, "INTERVAL_SECONDS", 0)


@pytest.mark.usefixtures("at_once")
async def test_a_watch_ends_when_the_workspace_is_ready(
    client: Client, server: ApiServer
) -> None:
    script(server, ready())
    first = Answer(loading().workspace)
    server.on("GET", WORKSPACE, first, first, Answer(ready().workspace))
    views: list[View] = []
    shown = await status.until(client, "team", "ws", 30, views.append)
    assert shown.outcome is Outcome.READY
    assert [view.outcome for view in views] == [
        Outcome.PROGRESSING,
        Outcome.PROGRESSING,
        Outcome.READY,
    ]


@pytest.mark.usefixtures("at_once")
async def test_a_watch_ends_when_the_workspace_stalls(
    client: Client, server: ApiServer
) -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "R", "message": "m"}
    script(server, Snapshot(workspace(NODES_READY, stalled)))
    shown = await status.until(client, "team", "ws", 30, ignore)
    assert shown.outcome is Outcome.FAILED


async def test_a_watch_returns_what_it_saw_when_the_time_is_up(
    client: Client, server: ApiServer
) -> None:
    script(server, loading())
    shown = await status.until(client, "team", "ws", 0, ignore)
    assert shown.outcome is Outcome.PROGRESSING


@pytest.mark.usefixtures("at_once")
async def test_a_watch_outlives_a_server_that_fails_for_a_while_and_says_so(
    client: Client, server: ApiServer
) -> None:
    script(server, ready())
    first, last = Answer(loading().workspace), Answer(ready().workspace)
    server.on("GET", WORKSPACE, first, failure(500, "InternalError"), last)
    views: list[View] = []
    shown = await status.until(client, "team", "ws", 30, views.append)
    assert shown.outcome is Outcome.READY
    assert [list(view.unread) for view in views] == [[], ["workspaces"], []]


async def test_a_watch_of_a_server_that_does_not_answer_ends_at_once(
    tmp_path: Path,
) -> None:
    nowhere = kubeconfig(tmp_path, "http://127.0.0.1:1")
    client = await Client.connect(kubeconfig=nowhere, request_seconds=1)
    try:
        with pytest.raises(TransportError):
            await status.until(client, "team", "ws", 30, ignore)
    finally:
        await client.close()


async def test_a_log_gets_a_line_for_each_turn_and_none_for_the_rest(
    client: Client, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    script(server, loading())
    follow: Callable[[View], None] = status.lines()
    shown = await status.look(client, "team", "ws")
    follow(shown)
    follow(shown)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Pending: pod ws-pod is loading the model" in told
