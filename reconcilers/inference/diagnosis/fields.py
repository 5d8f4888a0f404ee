"""Which field of a Workspace decides something of its pods: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pykaito.api import labels
from pykaito.operator.objects import Object, name
from pykaito.reconcilers.inference.diagnosis.pod_view import ContainerSpec, PodView
from pykaito.reconcilers.inference.manifests.vllm_server import MODULE as VLLM_MODULE
from pykaito.runtime.presets.runtimes import Runtime

#: The init container that brings the weights of a private image.
WEIGHTS = "weights"
#: How the names of those begin that bring an adapter.
ADAPTER = "adapter-"


@dataclass(frozen=True, slots=True)
class ImageField:
    """Where the image of a container comes from.

    Attributes:
        path: the Workspace's field; empty for an image of the operator's own.
        pull_secrets: the field that names Secrets to pull it with; likewise.
        fixed: the field cannot be changed in place.
    """

    path: str = ""
    pull_secrets: str = ""
    fixed: bool = False


OF_THE_OPERATOR = ImageField()


def image_field(view: PodView, container: ContainerSpec | None) -> ImageField:
    """Return the field that a container's image is of."""
    inference = _inference(view)
    if container is None:
        return OF_THE_OPERATOR
    if inference.get("template"):
        return ImageField(
            f"{template_path(container)}.image",
            "inference.template.spec.imagePullSecrets",
        )
    if _brings_weights(container) and preset_options(view).get("image"):
        path = "inference.preset.presetOptions"
        return ImageField(f"{path}.image", f"{path}.imagePullSecrets", fixed=True)
    if (index := _adapter_index(view, container)) is not None:
        path = f"inference.adapters[{index}].source"
        return ImageField(f"{path}.image", f"{path}.imagePullSecrets")
    return OF_THE_OPERATOR


def image_volumes(view: PodView) -> dict[str, ImageField]:
    """Return the images that the pod mounts as volumes, and the field of each."""
    return {
        image: _volume_field(view, index, image)
        for index, volume in enumerate(view.spec.get("volumes") or ())
        if (image := (volume.get("image") or {}).get("reference"))
    }


def _volume_field(view: PodView, index: int, image: str) -> ImageField:
    if is_custom(view):
        return ImageField(
            f"inference.template.spec.volumes[{index}].image.reference",
            "inference.template.spec.imagePullSecrets",
        )
    adapter = adapter_that_mounts(view.workspace, image)
    if adapter is not None:
        path = f"inference.adapters[{adapter}].source"
        return ImageField(
            f"{path}.volumeSource.image.reference", f"{path}.imagePullSecrets"
        )
    path = "inference.preset.presetOptions"
    return ImageField(f"{path}.image", f"{path}.imagePullSecrets", fixed=True)


def adapter_that_mounts(workspace: Object, image: str) -> int | None:
    """Return the place of the adapter whose volume is an image, None for no adapter."""
    for index, adapter in enumerate(_adapters(workspace.get("inference") or {})):
        mounted = (adapter["source"].get("volumeSource") or {}).get("image") or {}
        if mounted.get("reference") == image:
            return index
    return None


def copied_instead(workspace: Object, image: str) -> str:
    """Return how to have an image copied that is mounted, as a request."""
    adapter = adapter_that_mounts(workspace, image)
    if adapter is None:
        return (
            f"remove the annotation {labels.MOUNT_WEIGHTS_IMAGE}: the image is copied "
            "then"
        )
    return (
        f"name the image in inference.adapters[{adapter}].source.image instead of "
        "volumeSource: it is copied then"
    )


def claim_field(view: PodView, claim: str) -> str:
    """Return what names a claim: an annotation or a field; empty for neither."""
    written = view.workspace["metadata"].get("annotations") or {}
    if written.get(labels.WEIGHTS_CLAIM, "").partition("/")[0] == claim:
        return f"annotation {labels.WEIGHTS_CLAIM}"
    if written.get(labels.CACHE_CLAIM) == claim:
        return f"annotation {labels.CACHE_CLAIM}"
    for index, adapter in enumerate(_adapters(_inference(view))):
        volume = adapter["source"].get("volumeSource") or {}
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim:
            return f"inference.adapters[{index}].source.volumeSource"
    return ""


def _brings_weights(container: ContainerSpec) -> bool:
    # A Workspace may have that name itself, and then the container has a longer one.
    named = str(container.spec["name"]).startswith(WEIGHTS)
    return named and container.kind == "initContainers"


def template_path(container: ContainerSpec) -> str:
    """Return the path of a container of the user's own template."""
    return f"inference.template.spec.{container.kind}[{container.index}]"


def is_custom(view: PodView) -> bool:
    """Whether the pod is of the user's own template."""
    return bool(_inference(view).get("template"))


def is_server(view: PodView, container: str) -> bool:
    """Whether a container is the model server of a preset."""
    return not is_custom(view) and container == name(view.workspace)


def runtime(view: PodView) -> Runtime:
    """Return the runtime of a preset's pod."""
    container = view.container(name(view.workspace))
    command = (container.spec.get("command") if container else None) or ()
    return "vllm" if VLLM_MODULE in command else "transformers"


def adapter_of(view: PodView, container: ContainerSpec | None) -> str:
    """Return the name of the adapter that an init container brings, else nothing."""
    index = _adapter_index(view, container)
    if index is None:
        return ""
    return str(_adapters(_inference(view))[index]["source"].get("name", ""))


def _adapter_index(view: PodView, container: ContainerSpec | None) -> int | None:
    """Return which adapter an init container brings, by the image that it runs."""
    if container is None or not container.spec["name"].startswith(ADAPTER):
        return None
    images = [a["source"].get("image") for a in _adapters(_inference(view))]
    image = container.spec.get("image")
    return images.index(image) if image in images else None


def preset_options(view: PodView) -> Mapping[str, Any]:
    """Return how the Workspace wants its model to be got."""
    preset = _inference(view).get("preset") or {}
    found: Mapping[str, Any] = preset.get("presetOptions") or {}
    return found


def _inference(view: PodView) -> Mapping[str, Any]:
    found: Mapping[str, Any] = view.workspace.get("inference") or {}
    return found


def _adapters(inference: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = inference.get("adapters") or ()
    return found
