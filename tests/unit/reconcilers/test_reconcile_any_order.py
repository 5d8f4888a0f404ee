"""Whatever happens in whatever order: where it ends depends on what is wanted alone."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykaito.operator.objects import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    NODES,
    SERVICES,
    Resource,
    name,
)
from pykaito.reconcilers.configs import DEFAULTS
from pykaito.reconcilers.resources import MACHINES, WORKSPACES
from tests.unit.operator.soak import examples
from tests.unit.operator.virtual_time import eventually, run_virtual
from tests.unit.reconcilers.running import SYSTEM
from tests.unit.reconcilers.world import LABELS, NAME, World

LAW = {"source": {"name": "law", "image": "registry/law:1"}, "strength": "0.5"}
TONE = {"source": {"name": "tone.v2", "volumeSource": {"emptyDir": {}}}}
PRIVATE = {
    "name": "falcon-7b",
    "accessMode": "private",
    "presetOptions": {"image": "registry/falcon:1"},
}
SERVER = {"name": "server", "image": "registry/server:1"}
PRESET: dict[str, Any] = {"inference": {"preset": {"name": "falcon-7b"}}}
FORMS: dict[str, dict[str, Any]] = {
    "preset": PRESET,
    "private": {"inference": {"preset": PRIVATE}},
    "template": {"inference": {"template": {"spec": {"containers": [SERVER]}}}},
    "cpu": PRESET | {"metadata": {"annotations": {"kaito.sh/accelerator": "cpu"}}},
    "partition": PRESET
    | {"resource": {"partition": {"mode": "accelerator", "count": 1}}},
}
TWO = ("gpu-0", "gpu-1")


class Story:
    """One cluster, what is done to it step by step, and how it ends."""

    def __init__(self) -> None:
        self.world = World()
        self._running: contextlib.AsyncExitStack | None = None

    async def begin(self, form: str) -> None:
        for node in TWO:
            await self.world.add_node(node, gpus=2)
        await self.world.configure("max_probe_steps: 1")
        await self.world.add_workspace(**FORMS[form])
        await self.start()

    async def start(self) -> None:
        if self._running is None:
            self._running = contextlib.AsyncExitStack()
            await self._running.enter_async_context(self.world.operator())

    async def stop(self) -> None:
        if self._running is not None:
            await self._running.aclose()
            self._running = None

    async def adapt(self, adapters: list[Any]) -> None:
        if "preset" in self.world.workspace()["inference"]:
            await self.world.edit_workspace(inference={"adapters": adapters})

    async def set_config(self, config: str | None) -> None:
        if "preset" in self.world.workspace()["inference"]:
            await self.world.edit_workspace(inference={"config": config})

    async def configure(self, text: str | None) -> None:
        if text is None:
            with contextlib.suppress(Exception):
                await self.world.api.delete(
                    CONFIG_MAPS, "settings", namespace="default"
                )
        else:
            await self.world.configure(text)

    async def set_defaults(self, text: str) -> None:
        await self.world.configure(text, DEFAULTS, SYSTEM)

    async def set_image(self, image: str) -> None:
        inference = self.world.workspace()["inference"]
        if "template" in inference:
            containers = [SERVER | {"image": image}]
            await self.world.edit_workspace(
                inference={"template": {"spec": {"containers": containers}}}
            )

    async def count(self, count: int) -> None:
        await self.world.edit_workspace(resource={"count": count})

    async def annotate(self, annotation: tuple[str, str | None]) -> None:
        key, value = annotation
        await self.world.edit_workspace(
            metadata={"annotations": {f"kaito.sh/{key}": value}}
        )

    async def set_ready(self, node: tuple[str, bool]) -> None:
        if self.world.api.find(NODES, node[0], ""):
            await self.world.set_node(node[0], ready=node[1], gpus=2)

    async def cordon(self, node: tuple[str, bool]) -> None:
        if self.world.api.find(NODES, node[0], ""):
            spec = {"unschedulable": node[1] or None}
            await self.world.api.patch(NODES, node[0], {"spec": spec})

    async def relabel(self, node: tuple[str, bool]) -> None:
        if self.world.api.find(NODES, node[0], ""):
            value = LABELS["apps"] if node[1] else None
            await self.world.label_node(node[0], apps=value)

    async def lose(self, node: str) -> None:
        if self.world.api.find(NODES, node, ""):
            await self.world.lose_node(node)

    async def gain(self, node: str) -> None:
        if not self.world.api.find(NODES, node, ""):
            await self.world.add_node(node, gpus=2)

    async def delete(self, kind: Resource) -> None:
        for child in self.world.api.stored(kind):
            if not child["metadata"].get("deletionTimestamp"):
                await self.world.api.delete(kind, name(child), namespace="default")

    async def serve(self, available: bool) -> None:
        if self.world.deployment() is not None:
            await self.world.serve()
            if not available:
                status = {"status": {"availableReplicas": 0}}
                await self.world.api.patch(
                    *(DEPLOYMENTS, NAME),
                    status,
                    namespace="default",
                    subresource="status",
                )

    async def wait(self, seconds: float) -> None:
        with contextlib.suppress(AssertionError):
            await eventually(lambda: False, within=seconds)

    async def mend(self) -> None:
        """Let nothing stand in the way of what is wanted."""
        for node in TWO:
            await self.gain(node)
            await self.set_ready((node, True))
            await self.cordon((node, False))
            await self.relabel((node, True))
        if not self.world.api.find(CONFIG_MAPS, "settings"):
            await self.configure("max_probe_steps: 1")
        await self.configure_if_bad()
        await self.annotate(("runtime", None))
        await self.start()

    async def configure_if_bad(self) -> None:
        found = self.world.api.find(CONFIG_MAPS, "settings")
        if found["data"]["inference_config.yaml"] == "vllm: [":
            await self.configure("max_probe_steps: 1")

    async def come_to_rest(self) -> None:
        """Let every rollout end until the Workspace serves and nothing is written."""
        await self.wait(60)
        for _ in range(3):
            await self.world.serve()
            await self.wait(10)
        await self.world.until("Ready", "True")
        await self.world.at_rest()

    def children(self) -> Any:
        """Return what the children ask for."""
        spec = self.world.deployment()["spec"]
        return (
            in_order({k: v for k, v in spec.items() if k != "strategy"}),
            self.world.service()["spec"],
            sorted((name(m), m["spec"]) for m in self.world.machines()),
        )

    def versions(self) -> list[int]:
        kinds = (WORKSPACES, MACHINES, DEPLOYMENTS, SERVICES, EVENTS)
        return [len(self.world.api.history(kind)) for kind in kinds]


def in_order(value: Any) -> Any:
    """Return the value with sorted lists, since those by name grow here at the end."""
    if isinstance(value, dict):
        return {k: in_order(v) for k, v in value.items()}
    if isinstance(value, list):
        return sorted(map(in_order, value), key=str)
    return value


Step = tuple[Callable[..., Awaitable[None]], tuple[Any, ...]]


def step(does: Callable[..., Awaitable[None]], *choices: Any) -> st.SearchStrategy[Any]:
    if not choices:
        return st.just((does, ()))
    return st.tuples(st.just(does), st.tuples(st.sampled_from(choices)))


ON = [(node, on) for node in TWO for on in (True, False)]
STEPS = st.one_of(
    step(Story.start),
    step(Story.stop),
    step(Story.adapt, [], [LAW], [TONE], [TONE, LAW]),
    step(Story.set_config, None, "settings"),
    step(Story.configure, None, "max_probe_steps: 2", "vllm: [", "# said\n{}"),
    step(Story.set_defaults, "{}", "max_probe_steps: 3", "vllm: ["),
    step(Story.set_image, "registry/server:2", "registry/server:3"),
    step(Story.count, 1, 2),
    step(
        Story.annotate,
        ("enablelb", "True"),
        ("enablelb", None),
        ("runtime", "vllm"),
        ("runtime", None),
    ),
    step(Story.set_ready, *ON),
    step(Story.cordon, *ON),
    step(Story.relabel, *ON),
    step(Story.lose, *TWO),
    step(Story.gain, *TWO),
    step(Story.delete, DEPLOYMENTS, SERVICES, MACHINES),
    step(Story.serve, True, False),
    step(Story.wait, 0.002, 0.02, 1.0, 35.0),
)


async def end_of(form: str, steps: list[Step]) -> None:
    story = Story()
    await story.begin(form)
    for does, args in steps:
        await does(story, *args)
    await story.mend()
    if story.world.api.find(CONFIG_MAPS, DEFAULTS, SYSTEM):
        await story.set_defaults("max_probe_steps: 4")
    await story.come_to_rest()
    before = story.versions()
    await story.stop()
    await story.start()
    await story.world.at_rest()
    assert story.versions() == before
    assert story.children() == await told_at_once(story.world)
    await story.world.delete_workspace()
    await eventually(lambda: story.world.workspace() is None)
    assert story.world.machines() == []
    await story.world.at_rest()
    await story.stop()


async def told_at_once(grown: World) -> Any:
    """Return the children of a Workspace that is made as it ended, on its nodes."""
    story = Story()
    for machine in grown.machines():
        await story.world.add_node(machine["spec"]["nodeName"], gpus=2)
    for config_map in grown.api.stored(CONFIG_MAPS):
        at = config_map["metadata"]
        text = config_map["data"]["inference_config.yaml"]
        await story.world.configure(text, at["name"], at["namespace"])
    wanted = grown.workspace()
    annotations = wanted["metadata"].get("annotations") or {}
    await story.world.add_workspace(
        metadata={"annotations": annotations},
        resource=wanted["resource"],
        inference=wanted["inference"],
    )
    await story.start()
    await eventually(lambda: story.world.deployment() is not None)
    await story.come_to_rest()
    found = story.children()
    await story.stop()
    return found


@pytest.mark.parametrize("form", FORMS)
def test_any_history_ends_as_if_all_had_been_told_at_once(form: str) -> None:
    @settings(
        max_examples=examples(4),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.lists(STEPS, max_size=14))
    def tell(steps: list[Step]) -> None:
        run_virtual(end_of(form, steps))

    tell()
