"""The PersistentVolumeClaims of pods."""

from collections.abc import Mapping
from typing import Any


def mounted_claims(pod: Mapping[str, Any]) -> list[str]:
    """Return the names of the claims that a pod mounts, by its spec."""
    volumes = pod.get("volumes") or ()
    found = (volume.get("persistentVolumeClaim") or {} for volume in volumes)
    return sorted({str(claim["claimName"]) for claim in found if claim})
