"""What a pod has its weights from, and cannot have, is told with a remedy."""

from typing import Any

import pytest

from pykaito.api.conditions import InferenceReason
from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.manifests import affinity
from tests.unit.reconcilers.kubelet import (
    IMAGE,
    NAME,
    POD,
    condition,
    found,
    pod,
    template,
    waiting,
)
from tests.unit.reconcilers.workspaces import raw_workspace

FOLDER = "/opt/kaito/models/falcon-7b"
HOST_PATH = {"name": "weights", "hostPath": {"path": FOLDER, "type": "Directory"}}
SETTINGS = {"name": "config", "configMap": {"name": "settings"}}
WEIGHTS = "weights.example.com/falcon:1"
SERVER = {"containers": [{"name": NAME, "image": IMAGE}]}
MOUNTED = {"volumes": [{"name": "weights", "image": {"reference": WEIGHTS}}]}


def claim(name: str, volume: str = "weights") -> dict[str, Any]:
    return {"name": volume, "persistentVolumeClaim": {"claimName": name}}


def annotated(**annotations: str) -> Object:
    keys = {f"kaito.sh/{name.replace('_', '-')}": v for name, v in annotations.items()}
    return raw_workspace(metadata={"annotations": keys})


def mounting(seconds: float, *volumes: dict[str, Any]) -> dict[str, Any]:
    setting_up = [
        condition("PodScheduled", seconds=seconds),
        condition("PodReadyToStartContainers", "False", seconds=seconds),
    ]
    container = waiting("ContainerCreating")
    spec = {"volumes": [*volumes, {"name": "tmp", "emptyDir": {}}]}
    return pod(container, conditions=setting_up, podIP="", spec=spec)


def test_a_node_without_the_folder_of_the_weights_is_named() -> None:
    workspace = annotated(use_local_weights="true")
    assert found(mounting(9, HOST_PATH), workspace=workspace).progressing
    diagnosis = found(mounting(10, HOST_PATH), workspace=workspace)
    assert diagnosis.reason is InferenceReason.CONTAINER_START_ERROR
    assert diagnosis.message == (
        f"pod {POD} cannot be set up: node gpu-0 has no folder {FOLDER} (annotation "
        "kaito.sh/use-local-weights). Make it there, with the files that belong into "
        "it: the pod starts by itself then"
    )
    assert found(mounting(300, HOST_PATH), workspace=workspace).stalled


def test_a_folder_beside_other_things_is_one_of_those_that_may_be_missing() -> None:
    workspace = annotated(use_local_weights="true")
    message = found(mounting(10, HOST_PATH, SETTINGS), workspace=workspace).message
    assert f"ConfigMap settings, folder {FOLDER} (annotation" in message
    assert "in namespace default, or on node gpu-0" in message
    assert "get configmap/settings; which one" in message


def test_a_folder_of_a_template_is_of_no_annotation() -> None:
    message = found(mounting(10, HOST_PATH), workspace=template()).message
    assert f"node gpu-0 has no folder {FOLDER}. Make it" in message


def test_a_claim_has_time_to_be_attached_before_it_is_told_of() -> None:
    workspace = annotated(weights_claim="models/falcon", cache_claim="kept")
    volumes = (claim("models"), claim("kept", "cache"), SETTINGS)
    early = found(mounting(119, *volumes), workspace=workspace)
    assert (early.progressing, early.look_again) == (True, 1)
    diagnosis = found(mounting(120, *volumes), workspace=workspace)
    assert diagnosis.reason is InferenceReason.CONTAINER_START_ERROR
    assert "Claim models (annotation kaito.sh/weights-claim)" in diagnosis.message
    assert "Claim kept (annotation kaito.sh/cache-claim)" in diagnosis.message
    assert "get configmap/settings persistentvolumeclaim/kept" in diagnosis.message
    assert f"describe pod {POD}" in diagnosis.message


BINDING = (
    'running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded'
)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (
            '0/2 nodes are available: persistentvolumeclaim "models" not found.',
            "models (annotation kaito.sh/weights-claim) in namespace default; those",
        ),
        (
            "0/2 nodes: pod has unbound immediate PersistentVolumeClaims.",
            "no volume yet; its Events say why: kubectl -n default describe pvc models",
        ),
        (
            "1 node(s) didn't find available persistent volumes to bind.",
            "no volume yet; its Events say why",
        ),
        (
            BINDING,
            "no volume yet; its Events say why",
        ),
        (
            "1 node(s) didn't match PersistentVolume's node affinity.",
            "is not where the pod may run, node gpu-0: name a claim",
        ),
        (
            "1 node(s) had volume node affinity conflict.",
            "a node that reaches this one: kubectl -n default describe pvc models",
        ),
    ],
)
def test_a_claim_that_no_pod_can_have_is_told_with_what_helps(
    said: str, remedy: str
) -> None:
    unplaced = pod(
        conditions=[condition("PodScheduled", "False") | {"message": said}],
        spec={"affinity": affinity(["gpu-0"]), "volumes": [claim("models")]},
    )
    message = found(unplaced, workspace=annotated(weights_claim="models")).message
    assert remedy in message


def test_an_adapters_claim_is_told_with_the_field_that_names_it() -> None:
    kept = {"persistentVolumeClaim": {"claimName": "law"}}
    adapters = [{"source": {"name": "law", "volumeSource": kept}}]
    workspace = raw_workspace(
        inference={"preset": {"name": "falcon-7b"}, "adapters": adapters}
    )
    said = '0/2 nodes are available: persistentvolumeclaim "law" not found.'
    unplaced = pod(conditions=[condition("PodScheduled", "False") | {"message": said}])
    field = "inference.adapters[0].source.volumeSource"
    assert (
        f"law ({field}) in namespace default"
        in found(unplaced, workspace=workspace).message
    )
    waits = found(mounting(120, claim("law", "adapter-law")), workspace=workspace)
    assert f"Claim law ({field})" in waits.message


def test_a_claim_that_the_scheduler_waits_for_is_named_before_it_gives_up() -> None:
    volumes = {"volumes": [claim("kept", "cache"), {"name": "tmp", "emptyDir": {}}]}
    diagnosis = found(pod(conditions=[], spec=volumes))
    assert diagnosis.progressing
    assert "a volume of PersistentVolumeClaim kept where" in diagnosis.message
    assert diagnosis.message.endswith("kubectl -n default describe pvc kept")
    assert found(pod(conditions=[])).message == f"pod {POD} waits for the scheduler"


DENIED = f'failed to pull and unpack image "{WEIGHTS}": 401 Unauthorized'
PRIVATE = raw_workspace(
    inference={
        "preset": {"name": "falcon-7b", "presetOptions": {"image": WEIGHTS}},
    }
)


def test_an_image_that_cannot_be_mounted_is_told_as_the_one_it_is() -> None:
    message = found(
        pod(waiting("ErrImagePull", DENIED), spec=MOUNTED), workspace=PRIVATE
    ).message
    assert f"cannot pull {WEIGHTS} (inference.preset.presetOptions.image)" in message
    assert "401 Unauthorized" in message
    assert "--docker-server=weights.example.com" in message


def test_the_servers_own_image_is_told_as_such_beside_one_that_is_mounted() -> None:
    own = DENIED.replace(WEIGHTS, longer := f"{WEIGHTS}2")
    server = {"containers": [{"name": NAME, "image": longer}]}
    message = found(
        pod(waiting("ErrImagePull", own), spec=server | MOUNTED), workspace=PRIVATE
    ).message
    assert f"cannot pull {longer} for container" in message


def test_an_image_that_a_template_mounts_has_its_own_field() -> None:
    workspace = template()
    message = found(
        pod(waiting("ErrImagePull", DENIED), spec=MOUNTED), workspace=workspace
    ).message
    assert "inference.template.spec.volumes[0].image.reference" in message


def test_a_folder_that_a_claim_has_not_is_told_with_the_annotation() -> None:
    said = f'failed to create subPath directory for volumeMount "weights" of "{NAME}"'
    failed = waiting("CreateContainerConfigError", said)
    workspace = annotated(weights_claim="models/phi")
    message = found(pod(failed), workspace=workspace).message
    assert "annotation kaito.sh/weights-claim, models/phi, hold the weights" in message


def test_an_image_that_is_mounted_is_pulled_beside_the_servers_own() -> None:
    message = found(
        pod(waiting("ContainerCreating"), spec=SERVER | MOUNTED), workspace=PRIVATE
    ).message
    assert f"is pulling {IMAGE} and {WEIGHTS} for container {NAME}" in message


def test_a_node_that_mounts_no_images_is_told_what_to_do_without() -> None:
    failed = waiting("CreateContainerError", 'failed to mkdir "": no such file')
    message = found(pod(failed, spec=SERVER | MOUNTED), workspace=PRIVATE).message
    assert "If node gpu-0 cannot mount images" in message
    assert "remove the annotation kaito.sh/mount-weights-image" in message


ON_VOLUME = {"name": "law", "volumeSource": {"image": {"reference": WEIGHTS}}}
WITH_ADAPTERS = raw_workspace(
    inference={
        "preset": {"name": "falcon-7b"},
        "adapters": [
            {"source": {"name": "a", "image": "r/a:1"}},
            {"source": ON_VOLUME},
        ],
    }
)


def test_an_adapters_image_that_cannot_be_mounted_is_told_with_its_own_field() -> None:
    message = found(
        pod(waiting("ErrImagePull", DENIED), spec=MOUNTED), workspace=WITH_ADAPTERS
    ).message
    source = "inference.adapters[1].source"
    assert f"{WEIGHTS} ({source}.volumeSource.image.reference)" in message
    assert f"in {source}.imagePullSecrets" in message


def test_a_node_that_mounts_no_images_is_told_what_to_do_with_an_adapter() -> None:
    failed = waiting("CreateContainerError", 'failed to mkdir "": no such file')
    message = found(pod(failed, spec=SERVER | MOUNTED), workspace=WITH_ADAPTERS).message
    assert "name the image in inference.adapters[1].source.image" in message
