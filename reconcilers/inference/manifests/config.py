"""Bringing the settings of a model server into its pod."""

from dataclasses import dataclass
from typing import Any

from pykaito.runtime.presets.inference_config import KEY

FOLDER = "/mnt/config"
FILE = f"{FOLDER}/{KEY}"
VOLUME = "config"

#: Makes new pods where the content of a ConfigMap changes.
CHECKSUM = "kaito.sh/config-checksum"
#: Holds the operator's default settings for pods that have no ConfigMap.
CONTENT = "kaito.sh/inference-config"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Settings as they reach a pod.

    Args:
        config_map: of the Workspace's namespace, that holds them; empty for the
            operator's defaults, which are in another namespace. Pods carry these
            in an annotation, so that there is no copy to write, and nothing of its
            name can be in the way.
        content: what is in it.
        checksum: of the content.
    """

    config_map: str
    content: str
    checksum: str


def annotations(config: ConfigFile) -> dict[str, str]:
    """Return what makes new pods when the settings change."""
    if config.config_map:
        return {CHECKSUM: config.checksum}
    return {CONTENT: config.content}


def volume(config: ConfigFile) -> dict[str, Any]:
    """Return the volume that the settings are on."""
    if config.config_map:
        return {"name": VOLUME, "configMap": {"name": config.config_map}}
    reference = {"fieldPath": f"metadata.annotations['{CONTENT}']"}
    return {
        "name": VOLUME,
        "downwardAPI": {"items": [{"path": KEY, "fieldRef": reference}]},
    }


def mount() -> dict[str, Any]:
    """Return where the model server finds the settings."""
    return {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}
