"""What people change on a Workspace's children, and what becomes of it."""

from typing import Any

import pytest

from pykaito.operator.errors import InvalidError
from pykaito.operator.objects import DEPLOYMENTS, Object, Resource
from pykaito.reconcilers.resources import MACHINES
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.cluster_api import ClusterApi
from tests.unit.reconcilers.world import NAME, World

pytestmark = pytest.mark.virtual_time


ADAPTED = {
    "inference": {
        "preset": {"name": "falcon-7b"},
        "adapters": [{"source": {"name": "law", "image": "registry/law:1"}}],
    }
}


def affinity(*terms: object) -> dict[str, object]:
    required = {"nodeSelectorTerms": list(terms)}
    node = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    return {"spec": {"template": {"spec": {"affinity": {"nodeAffinity": node}}}}}


def scaled(replicas: int) -> dict[str, object]:
    return {"spec": {"replicas": replicas}}


async def test_a_field_that_someone_took_stays_theirs_and_is_named() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.edit_deployment(scaled(2))
        await world.serve()
        await eventually(lambda: len(world.events("FieldsLeftToOwner")) == 1)
        await world.at_rest()
        assert world.deployment()["spec"]["replicas"] == 2
        assert "kubectl-edit" in world.condition("InferenceReady")["message"]


class WithStrategies(ClusterApi):
    """An API server that refuses the limits of a rolling update to other types."""

    async def apply(self, resource: Resource, obj: Object, **options: Any) -> Object:
        found = self.find(resource, obj["metadata"]["name"]) or {}
        strategy = (obj.get("spec") or {}).get("strategy") or {}
        kind = (found.get("spec") or {}).get("strategy", {}).get("type")
        if kind == "Recreate" and "type" not in strategy and strategy:
            raise InvalidError("spec.strategy.rollingUpdate: Forbidden", status=422)
        return await super().apply(resource, obj, **options)


async def test_a_strategy_that_someone_chose_stays_and_the_model_is_served() -> None:
    world = World()
    defaults = world.api.status_defaults
    world.api = WithStrategies()
    world.api.status_defaults |= defaults
    theirs = {"type": "Recreate", "rollingUpdate": None}
    async with world.operator():
        await world.served()
        await world.set_node("gpu-0", gpus=2)
        await eventually(lambda: "'maxSurge': 1" in str(world.deployment()))
        await world.edit_deployment({"spec": {"strategy": theirs}})
        await eventually(lambda: len(world.events("FieldsLeftToOwner")) == 1)
        await world.serve()
        await world.at_rest()
        assert world.deployment()["spec"]["strategy"] == {"type": "Recreate"}
        ready = world.condition("InferenceReady")
        assert ready["status"] == "True"
        assert ".spec.strategy.type (kubectl-edit)" in ready["message"]
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: bool(world.events("RolloutWithDowntime")))
        (event,) = world.events("RolloutWithDowntime")
        assert event["note"].endswith("new pod is: somebody else chose its strategy")


class WithOneSource(ClusterApi):
    """An API server that takes one source for a volume, and tells who chose it."""

    async def apply(self, resource: Resource, obj: Object, **options: Any) -> Object:
        found = self.find(resource, obj["metadata"]["name"])
        if resource == DEPLOYMENTS and found:
            chosen = {volume["name"]: volume for volume in _volumes(found)}
            for volume in _volumes(obj):
                both = {*volume, *chosen.get(volume["name"], ())} - {"name"}
                if len(both) > 1:
                    raise InvalidError("more than 1 volume type", status=422)
        return await super().apply(resource, obj, **options)

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        found = dict(await super().get(resource, name, namespace))
        source = {'k:{"name":"tmp"}': {"f:persistentVolumeClaim": {}}}
        fields = {"f:spec": {"f:template": {"f:spec": {"f:volumes": source}}}}
        theirs = {"manager": "kubectl-edit", "fieldsV1": fields}
        return found | {"metadata": found["metadata"] | {"managedFields": [theirs]}}


def _volumes(obj: Object) -> Any:
    return obj["spec"]["template"]["spec"]["volumes"]


async def test_a_source_that_someone_gave_a_volume_stays_and_is_named() -> None:
    world = World()
    defaults = world.api.status_defaults
    world.api = WithOneSource()
    world.api.status_defaults |= defaults
    mine = {"name": "tmp", "persistentVolumeClaim": {"claimName": "mine"}}
    async with world.operator():
        await world.served()
        others = [v for v in _volumes(world.deployment()) if v["name"] != "tmp"]
        await world.edit_deployment(
            {"spec": {"template": {"spec": {"volumes": [mine, *others]}}}}
        )
        await eventually(lambda: len(world.events("FieldsLeftToOwner")) == 1)
        await world.serve()
        await world.at_rest()
        assert mine in _volumes(world.deployment())
        ready = world.condition("InferenceReady")
        assert ready["status"] == "True"
        assert 'volumes[name="tmp"].emptyDir (kubectl-edit)' in ready["message"]


async def test_a_field_that_two_others_own_is_left_to_both() -> None:
    world = World()
    async with world.operator():
        await world.served()
    await world.edit_deployment(scaled(2))
    mine = {"apiVersion": "apps/v1", "kind": "Deployment", **scaled(2)}
    mine["metadata"] = {"name": NAME, "namespace": "default"}
    await world.api.apply(DEPLOYMENTS, mine, field_manager="argocd")
    async with world.operator():
        await eventually(lambda: len(world.events("FieldsLeftToOwner")) == 1)
        await world.at_rest()
        assert world.deployment()["spec"]["replicas"] == 2
        message = world.condition("InferenceReady")["message"]
        assert "argocd" in message
        assert "kubectl-edit" in message


async def test_a_restart_does_not_tell_again_what_was_left_to_others() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.edit_deployment(scaled(2))
        await eventually(lambda: len(world.events("FieldsLeftToOwner")) == 1)
    async with world.operator():
        await world.at_rest()
        assert len(world.events("FieldsLeftToOwner")) == 1


async def test_of_many_fields_that_someone_took_a_few_are_named_and_told_once() -> None:
    containers = [{"name": f"server-{n}", "image": "registry/a:1"} for n in range(40)]
    template = {"template": {"spec": {"containers": containers}}}
    world = World()
    async with world.operator():
        await world.served(inference=template)
        mine = [container | {"image": "mine:1"} for container in containers]
        await world.edit_deployment(
            {"spec": {"template": {"spec": {"containers": mine}}}}
        )
        await eventually(lambda: len(world.events("FieldsLeftToOwner")) == 1)
    async with world.operator():
        await world.at_rest()
        assert "and 35 more" in world.condition("InferenceReady")["message"]
        assert len(world.events("FieldsLeftToOwner")) == 1


async def test_a_deployment_scaled_to_nothing_does_not_serve() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.edit_deployment(scaled(0), "kubectl")
        await world.serve()
        await world.until("InferenceReady", "False")
        await world.at_rest()
        assert world.condition("Ready")["status"] == "False"
        assert "0 replicas" in world.condition("InferenceReady")["message"]


async def test_a_deployment_scaled_to_nothing_stays_so_until_it_is_scaled_back() -> (
    None
):
    world = World()
    async with world.operator():
        await world.served()
        await world.api.scale(DEPLOYMENTS, NAME, 0)
        await world.until("InferenceReady", "False")
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: "law" in str(world.template()))
        await world.at_rest()
        assert world.deployment()["spec"]["replicas"] == 0
    async with world.operator():
        await world.at_rest()
        assert world.deployment()["spec"]["replicas"] == 0
        await world.api.scale(DEPLOYMENTS, NAME, 1)
        await world.serve()
        await world.until("Ready", "True")
        await world.at_rest()


async def test_an_edited_command_survives_a_restart_and_changes_elsewhere() -> None:
    world = World()
    await world.configure("max_probe_steps: 1")
    async with world.operator():
        await world.served()
        (container,) = world.template()["spec"]["containers"]
        mine = [*container["command"][:-1], "python mine.py --load_in_4bit"]
        await world.edit_deployment(
            {
                "spec": {
                    "template": {
                        "spec": {"containers": [container | {"command": mine}]}
                    }
                }
            }
        )
        await eventually(lambda: bool(world.events("FieldsLeftToOwner")))
    async with world.operator():
        await world.edit_workspace(**ADAPTED)
        await eventually(lambda: "law" in str(world.template()))
        config = {**ADAPTED["inference"], "config": "settings"}
        await world.edit_workspace(inference=config)
        await eventually(lambda: "config-checksum" in str(world.template()))
        await world.serve()
        await world.until("Ready", "True")
        await world.at_rest()
        (container,) = world.template()["spec"]["containers"]
        assert container["command"] == mine
        assert {"KAITO_ADAPTERS", "KAITO_CONFIG_FILE"} <= {
            variable["name"] for variable in container["env"]
        }
        assert "command (kubectl-edit)" in world.condition("InferenceReady")["message"]
        assert world.events("FieldsLeftToOwner")[0].get("series") is None


async def test_a_deployment_that_lost_its_label_gets_it_back() -> None:
    world = World()
    async with world.operator():
        await world.served()
        label = {"kaito.sh/workspace": None}
        await world.edit_deployment({"metadata": {"labels": label}})
        await eventually(lambda: world.deployment()["metadata"].get("labels"))
        await world.at_rest()
        assert world.events("WorkloadCreated")[0].get("series") is None


async def test_a_deployment_that_lost_its_owner_gets_it_back() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.edit_deployment({"metadata": {"ownerReferences": None}})
        await eventually(lambda: world.deployment()["metadata"].get("ownerReferences"))
        await world.at_rest()


async def test_a_machine_that_lost_its_finalizer_gets_it_back() -> None:
    world = World()
    async with world.operator():
        await world.served()
        (machine,) = world.machines()
        at = machine["metadata"]["name"]
        await world.api.patch(
            MACHINES, at, {"metadata": {"finalizers": None}}, namespace="default"
        )
        await eventually(lambda: world.machines()[0]["metadata"].get("finalizers"))
        await world.at_rest()


async def test_a_node_may_go_away_from_an_affinity_that_someone_wrote() -> None:
    world = World()
    async with world.operator():
        await world.served()
        zone = {"key": "zone", "operator": "In", "values": ["a"]}
        await world.edit_deployment(affinity({"matchExpressions": [zone]}))
        await world.set_node("gpu-0", ready=False)
        await world.until_reason("ResourceReady", "NodeNotReady")
        await world.serve()
        await world.until("InferenceReady", "True")
        await world.at_rest()
        assert (
            world.deployment()["spec"]["template"]["spec"]["affinity"]
            == (
                affinity({"matchExpressions": [zone]})["spec"]["template"]["spec"][
                    "affinity"
                ]
            )
        )


async def test_more_nodes_are_used_once_they_are_ready() -> None:
    world = World()
    async with world.operator():
        await world.served()
        await world.edit_workspace(resource={"count": 2})
        await world.until_reason("ResourceReady", "NoMatchingNode")
        await world.at_rest()
        assert world.deployment()["spec"]["replicas"] == 1
        await world.add_node("gpu-1")
        await eventually(lambda: world.deployment()["spec"]["replicas"] == 2)
        assert "gpu-1" in str(world.deployment()["spec"]["template"]["spec"])


async def test_a_replica_on_a_lost_node_is_not_given_up() -> None:
    world = World()
    async with world.operator():
        await world.add_node("gpu-0")
        await world.add_node("gpu-1")
        await world.add_workspace(resource={"count": 2})
        await eventually(lambda: world.deployment() is not None)
        await world.set_node("gpu-1", ready=False)
        await world.until_reason("ResourceReady", "NodeNotReady")
        await world.at_rest()
        assert world.deployment()["spec"]["replicas"] == 2
