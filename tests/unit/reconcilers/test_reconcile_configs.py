"""Settings in ConfigMaps on their way into the workload."""

import pytest

from pykaito.operator.errors import ServerError
from pykaito.operator.metrics import RECONCILE_TOTAL
from pykaito.operator.objects import CONFIG_MAPS, Resource
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.running import SYSTEM
from tests.unit.reconcilers.world import World

pytestmark = pytest.mark.virtual_time

CONFIGURED = {"inference": {"preset": {"name": "falcon-7b"}, "config": "settings"}}
DEFAULTS = "inference-params-template"


def checksum(world: World) -> str:
    found = world.template()["metadata"]["annotations"]["kaito.sh/config-checksum"]
    return str(found)


def contents_read(world: World) -> int:
    return world.api.calls.count(("get", "configmaps"))


async def test_settings_are_mounted_and_read_once() -> None:
    world = World()
    async with world.operator():
        await world.configure("vllm: {max-model-len: 1024}")
        await world.served(**CONFIGURED)
        volumes = world.template()["spec"]["volumes"]
        assert {"name": "config", "configMap": {"name": "settings"}} in volumes
        assert contents_read(world) <= 2


async def test_a_change_of_the_content_is_rolled_out_once() -> None:
    world = World()
    async with world.operator():
        await world.configure("max_probe_steps: 1")
        await world.served(**CONFIGURED)
        before, writes = checksum(world), len(world.api.writes)
        await world.configure("max_probe_steps: 2")
        await eventually(lambda: checksum(world) != before)
        await world.serve()
        await world.until("Ready", "True")
        await world.at_rest()
        applied = world.api.writes[writes:]
        assert applied.count(("apply", "deployments")) == 1
        assert ("apply", "machines") not in applied


async def test_a_change_that_means_nothing_restarts_nothing() -> None:
    world = World()
    async with world.operator():
        await world.configure("max_probe_steps: 1")
        await world.served(**CONFIGURED)
        before = world.deployment()
        await world.configure("max_probe_steps: 1  # as before")
        await world.at_rest()
        assert world.deployment() == before


async def test_the_config_map_of_another_namespace_concerns_nobody() -> None:
    world = World()
    async with world.operator():
        await world.configure("max_probe_steps: 1")
        await world.served(**CONFIGURED)
        before, reconciled = len(world.api.calls), reconciles()
        await world.configure("max_probe_steps: 2", namespace="other")
        await world.at_rest()
        assert [c for c in world.api.calls[before:] if c[0] != "watch"] == [
            ("apply", "configmaps")
        ]
        assert reconciles() == reconciled


def reconciles() -> float:
    """Return how often anything was reconciled."""
    samples = (one for found in RECONCILE_TOTAL.collect() for one in found.samples)
    return sum(one.value for one in samples if one.name.endswith("_total"))


@pytest.mark.parametrize(
    ("text", "reason", "told"),
    [
        (None, "ConfigKeyMissing", "no key inference_config.yaml, found other"),
        ("vllm: [", "ConfigInvalid", "no YAML"),
        ("vllm: {max-model-len: many}", "ConfigInvalid", "max-model-len"),
    ],
)
async def test_wrong_settings_are_told_with_a_remedy_and_recover_by_themselves(
    text: str | None, reason: str, told: str
) -> None:
    world = World()
    async with world.operator():
        await world.configure(text)
        await world.add_node()
        await world.add_workspace(**CONFIGURED)
        await world.until_reason("Stalled", reason)
        await world.until_reason("InferenceReady", reason)
        await world.at_rest()
        message = world.condition("Ready")["message"]
        assert told in message
        assert "kubectl -n default" in message
        assert "docs/troubleshooting" in message
        assert (world.machines(), world.deployment()) == ([], None)
        assert len(world.events(reason)) == 1
        await world.configure("max_probe_steps: 1")
        await eventually(lambda: world.deployment() is not None)
        assert world.condition("Stalled") == {}


async def test_settings_that_are_not_there_are_waited_for() -> None:
    world = World()
    async with world.operator():
        await world.add_node()
        await world.add_workspace(**CONFIGURED)
        await world.until_reason("Stalled", "ConfigNotFound")
        await world.at_rest()
        assert "create configmap settings" in world.condition("Ready")["message"]
        await world.configure("max_probe_steps: 1")
        await eventually(lambda: world.deployment() is not None)


async def test_what_serves_goes_on_when_its_settings_turn_bad() -> None:
    world = World()
    async with world.operator():
        await world.configure("max_probe_steps: 1")
        await world.served(**CONFIGURED)
        before = world.deployment()
        await world.api.delete(CONFIG_MAPS, "settings", namespace="default")
        await world.until_reason("Stalled", "ConfigNotFound")
        await world.configure("vllm: [")
        await world.until_reason("Stalled", "ConfigInvalid")
        assert world.deployment() == before
        await world.configure("max_probe_steps: 1")
        await world.until("Ready", "True")
        await world.at_rest()
        assert world.deployment() == before


async def test_a_config_map_that_the_cache_has_not_seen_yet_is_read() -> None:
    world = World()
    async with world.operator():
        world.api.watch_latency[CONFIG_MAPS] = 3600
        await world.configure("max_probe_steps: 1")
        await world.served(**CONFIGURED)
        assert checksum(world)


async def test_settings_that_cannot_be_read_now_are_read_later() -> None:
    world = World()

    def fault(verb: str, resource: Resource) -> ServerError | None:
        if (verb, resource) == ("get", CONFIG_MAPS):
            return ServerError("etcd is away", status=500)
        return None

    async with world.operator():
        await world.configure("max_probe_steps: 1")
        world.api.fault = fault
        await world.add_node()
        await world.add_workspace(**CONFIGURED)
        await eventually(lambda: contents_read(world) >= 3)
        assert world.deployment() is None
        world.api.fault = lambda *_: None
        await eventually(lambda: world.deployment() is not None, within=300)


async def test_the_operators_defaults_serve_those_that_name_no_settings() -> None:
    world = World()
    await world.configure("max_probe_steps: 1", DEFAULTS, SYSTEM)
    async with world.operator():
        await world.served()
        annotations = world.template()["metadata"]["annotations"]
        assert annotations == {"kaito.sh/inference-config": '{"max_probe_steps": 1}'}
        await world.configure("# said so\nmax_probe_steps: 1", DEFAULTS, SYSTEM)
        await world.at_rest()
        await world.configure("max_probe_steps: 2", DEFAULTS, SYSTEM)
        await eventually(lambda: '": 2' in str(world.template()["metadata"]))


async def test_defaults_that_set_nothing_are_none() -> None:
    world = World()
    await world.configure("# vllm: {}", DEFAULTS, SYSTEM)
    async with world.operator():
        await world.served()
        assert "annotations" not in world.template()["metadata"]


async def test_defaults_concern_no_template_of_a_users_own() -> None:
    world = World()
    await world.configure("vllm: [", DEFAULTS, SYSTEM)
    async with world.operator():
        container = {"name": "server", "image": "registry/server:1"}
        template = {"spec": {"containers": [container]}}
        await world.served(inference={"template": template})


async def test_without_defaults_nothing_is_asked_for() -> None:
    world = World()
    async with world.operator():
        await world.served()
        assert "annotations" not in world.template()["metadata"]
        assert contents_read(world) == 0
