"""A cluster that mounts no images says nothing of it; the operator does."""

import copy
from typing import Any

import pytest

from pykaito.operator.objects import DEPLOYMENTS, Object, Resource
from tests.unit.operator.virtual_time import eventually
from tests.unit.reconcilers.cluster_api import ClusterApi
from tests.unit.reconcilers.world import World

pytestmark = pytest.mark.virtual_time

MOUNT = "kaito.sh/mount-weights-image"
PRIVATE = {
    "preset": {
        "name": "falcon-7b",
        "accessMode": "private",
        "presetOptions": {"image": "r/falcon:1"},
    }
}


class WithoutImageVolumes(ClusterApi):
    """An API server whose feature gate ImageVolume is off."""

    async def apply(self, resource: Resource, obj: Object, **options: Any) -> Object:
        kept = copy.deepcopy(dict(obj))
        if resource == DEPLOYMENTS:
            spec = kept["spec"]["template"]["spec"]
            lost = {v["name"] for v in spec["volumes"] if "image" in v}
            spec["volumes"] = [v for v in spec["volumes"] if v["name"] not in lost]
            for container in spec["containers"]:
                mounts = container["volumeMounts"]
                kept_mounts = [m for m in mounts if m["name"] not in lost]
                container["volumeMounts"] = kept_mounts
        return await super().apply(resource, kept, **options)


async def test_an_image_that_the_api_server_leaves_out_is_told_with_what_helps() -> (
    None
):
    world = World()
    defaults = world.api.status_defaults
    world.api = WithoutImageVolumes()
    world.api.status_defaults |= defaults
    async with world.operator():
        await world.add_node()
        asked = {"annotations": {MOUNT: "true"}}
        await world.add_workspace(inference=PRIVATE, metadata=asked)
        await world.until_reason("InferenceReady", "ImageVolumesNotSupported")
        assert world.condition("Stalled")["status"] == "True"
        message = world.condition("InferenceReady")["message"]
        assert "the volume of the image r/falcon:1" in message
        assert f"Remove the annotation {MOUNT}" in message
        await world.at_rest()
        await world.edit_workspace(metadata={"annotations": {MOUNT: "false"}})
        await world.until_reason("InferenceReady", "WorkspaceInferenceStatusPending")
        spec = world.template()["spec"]
        assert [c["name"] for c in spec["initContainers"]] == ["copy-tool", "weights"]
        await world.serve()
        await world.until("Ready", "True")
        await world.at_rest()


async def test_an_adapters_image_that_is_left_out_is_told_with_its_own_field() -> None:
    world = World()
    defaults = world.api.status_defaults
    world.api = WithoutImageVolumes()
    world.api.status_defaults |= defaults
    volume = {"image": {"reference": "r/law:1"}}
    adapted = {
        "preset": {"name": "falcon-7b"},
        "adapters": [{"source": {"name": "law", "volumeSource": volume}}],
    }
    async with world.operator():
        await world.add_node()
        await world.add_workspace(inference=adapted)
        await world.until_reason("InferenceReady", "ImageVolumesNotSupported")
        message = world.condition("InferenceReady")["message"]
        assert "the volume of the image r/law:1" in message
        assert "Name the image in inference.adapters[0].source.image" in message
        assert MOUNT not in message
        await world.at_rest()


async def test_an_image_is_mounted_where_the_cluster_can() -> None:
    world = World()
    async with world.operator():
        await world.add_node()
        asked = {"annotations": {MOUNT: "true"}}
        await world.add_workspace(inference=PRIVATE, metadata=asked)
        await eventually(lambda: world.deployment() is not None)
        spec = world.template()["spec"]
        assert {"name": "weights", "image": {"reference": "r/falcon:1"}} in spec[
            "volumes"
        ]
        assert not spec.get("initContainers")
        await world.serve()
        await world.until("Ready", "True")
        await world.at_rest()
