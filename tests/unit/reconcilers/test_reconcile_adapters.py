"""Adapters that running servers take up, and those that need new pods."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pykaito.operator.objects import CONFIG_MAPS, DEPLOYMENTS
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.world import NAME, World

pytestmark = pytest.mark.virtual_time

LIST = f"{NAME}-adapters"
PRESET = {"preset": {"name": "falcon-7b"}}
LAW = {"source": {"name": "law", "image": "registry/law:1"}, "strength": "0.5"}
TONE = {
    "source": {
        "name": "tone",
        "image": "registry/tone:1",
        "imagePullSecrets": ["login"],
    }
}
VLLM = {"metadata": {"annotations": {"kaito.sh/runtime": "vllm"}}}


def adapters(*wanted: Any) -> dict[str, Any]:
    return {"inference": PRESET | {"adapters": list(wanted)}}


def listed(world: World) -> dict[str, str] | None:
    found = world.api.find(CONFIG_MAPS, LIST)
    if found is None:
        return None
    items = json.loads(found["data"]["adapters.json"])
    return {item["name"]: item["strength"] for item in items}


def brought(world: World) -> list[str]:
    containers = world.template()["spec"].get("initContainers", ())
    return [c["name"] for c in containers if c["name"].startswith("adapter-")]


@asynccontextmanager
async def served(*wanted: Any) -> AsyncIterator[World]:
    """A Workspace of two adapters whose pod runs."""
    world = World()
    async with world.operator():
        await world.served(**adapters(*wanted), **VLLM)
        await world.add_pod("pod", {"phase": "Running"})
        await world.at_rest()
        yield world


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([{**LAW, "strength": "1"}, TONE], {"law": "1", "tone": "1.0"}),
        ([{**LAW, "strength": "0"}, TONE], {"law": "0", "tone": "1.0"}),
        ([TONE], {"tone": "1.0"}),
        ([], {}),
        ([TONE, LAW], {"tone": "1.0", "law": "0.5"}),
    ],
)
async def test_a_change_that_needs_no_files_changes_the_list_alone(
    wanted: list[Any], said: dict[str, str]
) -> None:
    async with served(LAW, TONE) as world:
        before, written = world.template(), len(world.api.writes)
        assert listed(world) == {"law": "0.5", "tone": "1.0"}
        await world.edit_workspace(**adapters(*wanted))
        await eventually(lambda: listed(world) == said)
        await world.at_rest()
        assert world.template() == before
        counted = Counter(world.api.writes[written:])
        assert counted["apply", "configmaps"] == 1
        assert counted["apply", "deployments"] == 0
        assert world.events("RolloutStarted") == []


async def test_people_are_told_when_servers_follow() -> None:
    async with served(LAW, TONE) as world:
        await world.edit_workspace(**adapters({**LAW, "strength": "0.25"}))
        await eventually(lambda: bool(world.events("AdaptersChanged")))
        await world.at_rest()
        (event,) = world.events("AdaptersChanged")
        assert event["note"] == (
            "running servers follow within about two minutes: "
            "'law' at strength 0.25 instead of 0.5, no 'tone' any more"
        )


async def test_an_adapter_is_taken_back_while_pods_have_its_files() -> None:
    async with served(LAW, TONE) as world:
        before = world.template()
        await world.edit_workspace(**adapters(LAW))
        await eventually(lambda: listed(world) == {"law": "0.5"})
        await world.at_rest()
        await world.edit_workspace(**adapters(LAW, TONE))
        await eventually(lambda: listed(world) == {"law": "0.5", "tone": "1.0"})
        await world.at_rest()
        assert world.template() == before


@pytest.mark.parametrize(
    "more",
    [
        {"source": {"name": "new", "image": "registry/new:1"}},
        {"source": {"name": "tone", "image": "registry/tone:2"}},
    ],
)
async def test_what_needs_files_is_a_rollout_without_leftovers(more: Any) -> None:
    async with served(LAW, TONE) as world:
        before = world.template()
        await world.edit_workspace(**adapters(more))
        await eventually(lambda: world.template() != before)
        await world.at_rest()
        assert brought(world) == [f"adapter-{more['source']['name']}"]
        assert listed(world) == {more["source"]["name"]: "1.0"}
        assert world.events("AdaptersChanged") == []


async def test_a_later_rollout_drops_what_is_not_wanted_any_more() -> None:
    async with served(LAW, TONE) as world:
        await world.edit_workspace(**adapters(LAW))
        await eventually(lambda: listed(world) == {"law": "0.5"})
        await world.at_rest()
        assert brought(world) == ["adapter-law", "adapter-tone"]
        annotations = {"kaito.sh/performance-mode": "throughput"}
        await world.edit_workspace(metadata={"annotations": annotations})
        await eventually(lambda: brought(world) == ["adapter-law"])
        await world.at_rest()
        assert "performance-mode=throughput" in str(world.template())


async def test_a_restart_of_the_operator_keeps_what_pods_have() -> None:
    world = World()
    async with world.operator():
        await world.served(**adapters(LAW, TONE), **VLLM)
        await world.edit_workspace(**adapters(LAW))
        await eventually(lambda: listed(world) == {"law": "0.5"})
        await world.at_rest()
    before = world.deployment()
    async with world.operator():
        await world.at_rest()
        assert world.template() == before["spec"]["template"]


async def test_an_adapter_that_keeps_a_pod_from_starting_can_be_taken_back() -> None:
    async with served(LAW) as world:
        before = world.template()
        await world.edit_workspace(**adapters(LAW, TONE))
        await eventually(lambda: len(brought(world)) == 2)
        await world.add_pod("new", {"phase": "Pending"})
        await world.edit_workspace(**adapters(LAW))
        await eventually(lambda: len(brought(world)) == 1)
        await world.at_rest()
        assert world.template() == before


async def test_without_adapters_the_list_goes_once_no_pod_mounts_it() -> None:
    async with served(LAW) as world:
        await world.edit_workspace(**adapters())
        await eventually(lambda: listed(world) == {})
        await world.at_rest()
        annotations = {"kaito.sh/performance-mode": "throughput"}
        await world.edit_workspace(metadata={"annotations": annotations})
        await eventually(lambda: brought(world) == [])
        await world.at_rest()
        assert listed(world) == {}
        await world.serve()
        await eventually(lambda: listed(world) is None)
        await world.at_rest()


async def test_the_other_runtime_needs_no_list() -> None:
    async with served(LAW) as world:
        annotations = {"kaito.sh/runtime": "transformers"}
        await world.edit_workspace(metadata={"annotations": annotations})
        await eventually(lambda: "KAITO_ADAPTERS_FILE" not in str(world.template()))
        await world.serve()
        await eventually(lambda: listed(world) is None)
        assert '"name": "law"' in str(world.template())


async def test_the_name_of_the_list_may_be_somebody_elses() -> None:
    world = World()
    await world.configure("vllm: {}", LIST)
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**adapters(LAW), **VLLM)
        await world.until_reason("InferenceReady", "NameTaken")
        told = world.condition("InferenceReady")["message"]
        assert f"another ConfigMap {LIST}" in told
        assert world.deployment() is None
        found = world.api.find(CONFIG_MAPS, LIST)
        assert set(found["data"]) == {"inference_config.yaml"}


async def test_a_list_that_somebody_edits_stays_theirs() -> None:
    async with served(LAW) as world:
        mine = {"data": {"adapters.json": "[]"}}
        await world.api.patch(
            CONFIG_MAPS, LIST, mine, namespace="default", field_manager="kubectl-edit"
        )
        await eventually(lambda: bool(world.events("FieldsLeftToOwner")))
        await world.at_rest()
        assert listed(world) == {}
        assert "adapters.json" in world.condition("InferenceReady")["message"]


async def test_a_list_that_is_deleted_comes_back() -> None:
    async with served(LAW) as world:
        await world.api.delete(CONFIG_MAPS, LIST, namespace="default")
        await eventually(lambda: listed(world) == {"law": "0.5"})
        await world.at_rest()


async def test_a_workload_of_an_earlier_release_is_rolled_out_once() -> None:
    """Its pods have the list in their environment and do not follow it."""
    async with served(LAW, TONE) as world:
        pass
    old = world.template()
    container = old["spec"]["containers"][0]
    variable = {"name": "KAITO_ADAPTERS", "value": "[]"}
    kept = [v for v in container["env"] if v["name"] != "KAITO_ADAPTERS_FILE"]
    container["env"] = [variable, *kept]
    old["metadata"].pop("annotations")
    live = world.deployment()
    live["spec"]["template"] = old
    for field in ("managedFields", "resourceVersion", "uid"):
        live["metadata"].pop(field, None)
    await world.delete_deployment()
    await world.api.apply(DEPLOYMENTS, live, field_manager="pykaito-inference")
    written = len(world.api.writes)
    async with world.operator():
        await eventually(lambda: "KAITO_ADAPTERS_FILE" in str(world.template()))
        await world.at_rest()
    assert Counter(world.api.writes[written:])["apply", "deployments"] == 1
    assert "'KAITO_ADAPTERS'" not in str(world.template())
