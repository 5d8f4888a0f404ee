"""The provisioner of docs/provisioners.md, as it stands there."""

import re
from typing import Any

import pytest

from hack import paths
from pykaito.api import labels
from pykaito.operator.objects import NODES
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.workspaces import node
from tests.unit.reconcilers.world import NAME, World

pytestmark = pytest.mark.virtual_time

PAGE = paths.ROOT / "docs" / "provisioners.md"
SPARE = {"example.com/spare": "true"}
MOST_LINES = 40


def example() -> str:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def world() -> World:
    module: dict[str, Any] = {}
    exec(compile(example(), str(PAGE), "exec"), module)  # noqa: S102 - our own text
    made = World()
    made.factories = [module["SpareNodes"]]
    return made


async def stand_by(world: World, name: str) -> None:
    spare = node(name, labels=SPARE)
    await world.api.create(NODES, {**spare, "spec": {"unschedulable": True}})


async def ask(world: World, name: str) -> None:
    by = {labels.PROVISIONER: "spare"}
    await world.add_workspace(metadata={"name": name, "annotations": by})


def found(world: World, name: str) -> Any:
    return world.api.find(NODES, name, "")


def test_the_example_is_short() -> None:
    code = [line for line in example().splitlines() if line.strip()]
    assert len(code) <= MOST_LINES


async def test_a_spare_node_serves_and_stands_by_again(world: World) -> None:
    await stand_by(world, "spare-0")
    async with world.operator():
        await ask(world, NAME)
        await world.until("ResourceReady", "True")
        assert world.workspace()["status"]["workerNodes"] == ["spare-0"]
        assert found(world, "spare-0")["spec"]["unschedulable"] is False
        await world.delete_workspace()
        await eventually(lambda: world.workspace() is None)
        assert found(world, "spare-0")["spec"]["unschedulable"] is True
        assert labels.MACHINE not in found(world, "spare-0")["metadata"]["labels"]


async def test_two_workspaces_that_come_at_once_do_not_share_a_node(
    world: World,
) -> None:
    await stand_by(world, "spare-0")
    async with world.operator():
        await ask(world, "first")
        await ask(world, "second")
        await eventually(
            lambda: (
                {world.condition("ResourceReady", n).get("reason") for n in
                 ("first", "second")}
                == {"workspaceResourceStatusSuccess", "InsufficientCapacity"}
            )
        )  # fmt: skip
        await stand_by(world, "spare-1")
        await eventually(
            lambda: all(
                world.condition("ResourceReady", n)["status"] == "True"
                for n in ("first", "second")
            ),
            within=120,
        )


async def test_a_node_taken_before_a_restart_is_kept(world: World) -> None:
    await stand_by(world, "spare-0")
    await stand_by(world, "spare-1")
    async with world.operator():
        await ask(world, NAME)
        await world.until("ResourceReady", "True")
    async with world.operator():
        await world.at_rest()
        taken = [n for n in ("spare-0", "spare-1") if labels.MACHINE in
                 found(world, n)["metadata"]["labels"]]  # fmt: skip
        assert taken == world.workspace()["status"]["workerNodes"]
