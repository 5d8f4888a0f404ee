"""Whether the cluster mounts images: pure.

An API server whose feature gate ImageVolume is off stores a pod template without the
volumes that are images, and without their mounts, and says nothing.
"""

from collections.abc import Mapping
from typing import Any

from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.diagnosis import Diagnosis
from pykaito.reconcilers.inference.diagnosis.fields import copied_instead

NOT_SUPPORTED = "ImageVolumesNotSupported"


def dropped_image(
    wanted: Mapping[str, Any], deployed: Object, workspace: Object
) -> Diagnosis | None:
    """Return what is to be said of a Deployment that lost an image it mounts.

    None if it has all of them.

    Args:
        wanted: the Deployment as it was applied.
        deployed: as the API server has it.
        workspace: whose field a remedy names.
    """
    kept = {volume["name"] for volume in _volumes(deployed)}
    lost = [
        image
        for volume in _volumes(wanted)
        if (image := (volume.get("image") or {}).get("reference"))
        and volume["name"] not in kept
    ]
    if not lost:
        return None
    remedy = copied_instead(workspace, lost[0])
    if (workspace.get("inference") or {}).get("template"):
        remedy = "remove the volume from inference.template"
    return Diagnosis(
        NOT_SUPPORTED,
        f"the API server left out the volume of the image {lost[0]}: this cluster "
        "mounts no images (feature gate ImageVolume, which is on by default from "
        f"Kubernetes 1.35). {remedy[0].upper()}{remedy[1:]}",
        stalled=True,
    )


def _volumes(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(deployment["spec"]["template"]["spec"].get("volumes") or ())
