"""How far a server is with its model comes into the status and goes again."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pykaito.operator.objects import PODS
from pykaito.reconcilers.inference.loading.watch import PERIOD, Ask
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.kubelet import condition, pod, running
from tests.unit.reconcilers.world import NAME, World

pytestmark = pytest.mark.virtual_time

POD = f"{NAME}-79d4c8bb4-x2x7q"
SILENT = f"pod {POD} is loading the model"
#: The next question, and the writes that follow it.
IN_TIME = PERIOD + 2


class Server:
    """The pod's, where it can be reached."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.asked = 0

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Ask]:
        async def ask(url: str) -> bytes | None:
            assert url == "http://10.0.0.1:5000/health"
            self.asked += 1
            return self.body

        yield ask

    def says(self, stage: str, progress: float | None = None, **more: Any) -> None:
        """Answer this from now on."""
        said = {"status": "loading", "stage": stage, "progress": progress}
        self.body = json.dumps(said | more).encode()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def world(server: Server) -> World:
    world = World()
    world.connect = server.connect
    return world


async def start(world: World, **changes: Any) -> None:
    """Bring a Workspace to where its pod loads the model."""
    await world.add_node()
    await world.add_workspace(**changes)
    await eventually(lambda: world.deployment() is not None)
    await world.serve(availableReplicas=0)
    loads = pod(running(started=False, ready=False))
    await world.add_pod(POD, loads["status"], world.template()["spec"])


def message(world: World, kind: str = "InferenceReady") -> str:
    return str(world.condition(kind).get("message", ""))


async def until_said(world: World, said: str) -> None:
    await eventually(lambda: message(world) == said, within=IN_TIME)
    # Whoever waits for the Workspace reads it there.
    await eventually(lambda: said in message(world, "Ready"), within=IN_TIME)


async def test_the_message_follows_the_server_until_it_serves(
    world: World, server: Server
) -> None:
    async with world.operator():
        await start(world)
        await until_said(world, SILENT)
        server.says(
            "downloading the weights",
            0.43,
            downloaded_bytes=12.1e9,
            total_bytes=28e9,
            bytes_per_second=250e6,
            seconds_left=64,
        )
        await until_said(
            world,
            f"pod {POD} is downloading the weights: 43 % "
            "(12.1 of 28.0 GB, 250 MB/s, 64 s left)",
        )
        turned = world.condition("InferenceReady")["lastTransitionTime"]
        server.says("loading the weights", 0.8)
        await until_said(world, f"pod {POD} is loading the weights: 80 %")
        assert world.condition("InferenceReady")["lastTransitionTime"] == turned
        server.body = b""
        await until_said(world, SILENT)
        ready = pod(running(started=True, ready=True), conditions=[condition("Ready")])
        await world.api.patch(
            PODS,
            POD,
            {"status": ready["status"]},
            namespace="default",
            subresource="status",
        )
        await world.serve()
        await world.until("Ready", "True")
        asked = server.asked
        await world.at_rest()
    assert message(world) == "1 of 1 replicas serve"
    assert server.asked <= asked + 1


async def test_progress_that_is_no_news_is_not_written(
    world: World, server: Server
) -> None:
    async with world.operator():
        await start(world)
        server.says("loading the weights", 0.5)
        said = f"pod {POD} is loading the weights: 50 %"
        await until_said(world, said)
        before = len(world.api.writes)
        server.says("loading the weights", 0.54)
        await asyncio.sleep(10 * PERIOD)
        # Another reconcile finds the same words.
        await world.edit_workspace(metadata={"annotations": {"touched": "yes"}})
        await asyncio.sleep(PERIOD)
        news = [call for call in world.api.writes[before:] if call[1] == "workspaces"]
    assert message(world) == said
    assert len(news) == 1, "the edit itself"


async def test_an_operator_that_reaches_no_pod_says_what_kubernetes_knows() -> None:
    world = World()
    async with world.operator():
        await start(world)
        await until_said(world, SILENT)
        await world.at_rest()


async def test_pods_of_a_users_own_are_not_asked(world: World, server: Server) -> None:
    container = {"name": NAME, "image": "mine:1"}
    async with world.operator():
        server.says("downloading the weights", 0.43)
        await start(
            world, inference={"template": {"spec": {"containers": [container]}}}
        )
        await asyncio.sleep(10 * PERIOD)
        assert message(world) == f"pod {POD} runs and is not ready yet"
    assert server.asked == 0
