"""Every field that may change: what is written for it, and what restarts."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.world import World

pytestmark = pytest.mark.virtual_time

PRESET = {"preset": {"name": "falcon-7b"}}
LAW = {"source": {"name": "law", "image": "registry/law:1"}, "strength": "0.5"}
TONE = {"source": {"name": "tone", "image": "registry/tone:1"}}
NAMED = {"preferredNodes": ["gpu-0", "gpu-1"]}


def pod(**container: Any) -> dict[str, Any]:
    server = {"name": "server", "image": "registry/server:1"} | container
    return {"template": {"spec": {"containers": [server]}}}


def adapters(*wanted: Any) -> dict[str, Any]:
    return {"inference": PRESET | {"adapters": list(wanted)}}


def annotated(name: str, value: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {f"kaito.sh/{name}": value}}}


@dataclass(frozen=True)
class Change:
    """What a Workspace is, what of it changes, and what has to come of it."""

    before: dict[str, Any]
    change: dict[str, Any]
    deployments: int = 0
    services: int = 0
    machines: int = 1
    restarts: bool = False


CHANGES = {
    "an adapter more": Change(
        adapters(LAW), adapters(LAW, TONE), deployments=1, restarts=True
    ),
    "the first adapter": Change({}, adapters(LAW), deployments=1, restarts=True),
    "the last adapter less": Change(
        adapters(LAW), adapters(), deployments=1, restarts=True
    ),
    "an adapter's image": Change(
        adapters(LAW),
        adapters({**LAW, "source": {"name": "law", "image": "registry/law:2"}}),
        deployments=1,
        restarts=True,
    ),
    "an adapter's strength": Change(
        adapters(LAW), adapters({**LAW, "strength": "1"}), deployments=1, restarts=True
    ),
    "an adapter's pull secret": Change(
        adapters(LAW),
        adapters({**LAW, "source": {**LAW["source"], "imagePullSecrets": ["login"]}}),  # type: ignore[dict-item]
        deployments=1,
        restarts=True,
    ),
    "the first config": Change(
        {},
        {"inference": PRESET | {"config": "settings"}},
        deployments=1,
        restarts=True,
    ),
    "another config of the same content": Change(
        {"inference": PRESET | {"config": "settings"}},
        {"inference": PRESET | {"config": "copied"}},
        deployments=1,
        restarts=True,
    ),
    "no config any more": Change(
        {"inference": PRESET | {"config": "settings"}},
        {"inference": {"config": None}},
        deployments=1,
        restarts=True,
    ),
    "a load balancer": Change({}, annotated("enablelb", "True"), services=1),
    "no load balancer any more": Change(
        annotated("enablelb", "True"), annotated("enablelb", None), services=1
    ),
    "a node more": Change(
        {}, {"resource": {"count": 2}}, deployments=1, machines=2, restarts=True
    ),
    "a node less": Change(
        {"resource": {"count": 2}},
        {"resource": {"count": 1}},
        deployments=1,
        restarts=True,
    ),
    "preferred nodes in another order": Change(
        {"resource": {"count": 2, **NAMED}},
        {"resource": {"preferredNodes": ["gpu-1", "gpu-0"]}},
        machines=2,
    ),
    "a preferred node that is not needed": Change(
        {"resource": {"preferredNodes": ["gpu-0"]}}, {"resource": NAMED}
    ),
    "no instance type any more": Change(
        {"resource": NAMED}, {"resource": {"instanceType": None}}
    ),
    "a node instead of another": Change(
        {"resource": {"preferredNodes": ["gpu-0"]}},
        {"resource": {"preferredNodes": ["gpu-1"]}},
        deployments=1,
        restarts=True,
    ),
    "checks bypassed": Change({}, annotated("bypass-resource-checks", "True")),
    "the runtime that is the default": Change({}, annotated("runtime", "transformers")),
    "another runtime": Change(
        {}, annotated("runtime", "vllm"), deployments=1, restarts=True
    ),
    "a label of the Workspace": Change({}, {"metadata": {"labels": {"team": "a"}}}),
    "an annotation of somebody": Change({}, annotated("nobodys", "yes")),
    "a template's image": Change(
        {"inference": pod()},
        {"inference": pod(image="registry/server:2")},
        deployments=1,
        restarts=True,
    ),
    "a template's label": Change(
        {"inference": pod()},
        {"inference": {"template": {"metadata": {"labels": {"team": "a"}}}}},
        deployments=1,
        restarts=True,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_written_once_and_restarts_only_what_it_has_to(
    name: str,
) -> None:
    case = CHANGES[name]
    world = World()
    await world.configure("max_probe_steps: 1")
    await world.configure("max_probe_steps: 1", "copied")
    async with world.operator():
        await world.add_node("gpu-1")
        await world.served(**case.before)
        await world.until("Ready", "True")
        before, written = world.template(), len(world.api.writes)
        await world.edit_workspace(**case.change)
        await eventually(lambda: world.machines_held() == case.machines)
        await world.at_rest()
        counted = Counter(world.api.writes[written:])
        assert counted["apply", "deployments"] == case.deployments
        assert counted["apply", "services"] == case.services
        assert (world.template() != before) == case.restarts
        verbs = {verb for verb, plural in counted if plural != "machines"}
        assert verbs <= {"apply", "patch"}


async def test_an_unknown_runtime_stalls_and_leaves_what_serves_until_it_is_back() -> (
    None
):
    world = World()
    async with world.operator():
        await world.served()
        before = (world.deployment(), world.service(), world.machines())
        await world.edit_workspace(**annotated("runtime", "magic"))
        await world.until_reason("Stalled", "AnnotationInvalid")
        await world.at_rest()
        assert (world.deployment(), world.service(), world.machines()) == before
        assert world.workspace()["status"]["workerNodes"] == ["gpu-0"]
        await world.edit_workspace(**annotated("runtime", None))
        await world.until("Ready", "True")
        await world.at_rest()
        assert (world.deployment(), world.service(), world.machines()) == before


async def test_a_newer_operator_rolls_out_its_image_once() -> None:
    world = World()
    async with world.operator():
        await world.served()
    world.image = "reg/transformers:2"
    written = len(world.api.writes)
    async with world.operator():
        await eventually(lambda: ":2" in str(world.template()))
        await world.at_rest()
    assert Counter(world.api.writes[written:])["apply", "deployments"] == 1


async def test_a_deleted_workload_comes_back_as_the_operator_of_now_has_it() -> None:
    """Also the fields that a person took: they went with the object."""
    world = World()
    async with world.operator():
        await world.served()
    image = {"name": world.name, "image": "mine:1", "command": ["mine"]}
    await world.edit_deployment(
        {"spec": {"template": {"spec": {"containers": [image]}}}}
    )
    world.image = "reg/transformers:2"
    async with world.operator():
        await eventually(lambda: bool(world.events("FieldsLeftToOwner")))
        assert "mine:1" in str(world.template())
        await world.delete_deployment()
        await eventually(lambda: ":2" in str(world.deployment()))
        await world.at_rest()
        assert "mine" not in str(world.template())
        assert "left as" not in world.condition("InferenceReady")["message"]
