"""Bringing LoRA adapters into the pod, each into a folder of its name."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from typing import Any

from pykaito.api.v1beta1.adapter import Adapter
from pykaito.reconcilers.inference.manifests.containers import COPY, TOOLS, copy_from

ADAPTERS = "/mnt/adapter"
#: The volume of all adapters that come in images.
VOLUME = "adapters"
#: Where an image keeps an adapter.
DATA = "/data"

#: All of an adapter.
FULL_STRENGTH = "1.0"

#: Of the name of a container or volume, as a DNS label.
MAX_NAME = 63
_DIGEST = 8


def copy_adapters(adapters: Sequence[Adapter], *, main: str) -> list[dict[str, Any]]:
    """Return the init containers that copy adapters out of their images.

    Args:
        adapters: of the Workspace, also those on volumes.
        main: the name of the pod's main container.
    """
    return [
        copy_from(
            adapter.source.image,
            unit_name(adapter, taken=main),
            _script(adapter, adapter.source.image),
            _mount(adapter),
        )
        for adapter in adapters
        if adapter.source.image
    ]


def volumes(adapters: Sequence[Adapter]) -> list[dict[str, Any]]:
    """Return the volumes that the adapters are on."""
    shared = [{"name": VOLUME, "emptyDir": {}}]
    return [
        *(shared if any(adapter.source.image for adapter in adapters) else ()),
        *(
            {**adapter.source.volume_source, "name": unit_name(adapter)}
            for adapter in adapters
            if adapter.source.volume_source is not None
        ),
    ]


def mounts(adapters: Sequence[Adapter]) -> list[dict[str, Any]]:
    """Return where the model server finds the adapters, read-only.

    Each is mounted by itself: in a volume that is mounted read-only there would be
    no room for the mount point of another.
    """
    return [{**_mount(adapter), "readOnly": True} for adapter in adapters]


def listed(adapters: Sequence[Adapter]) -> str:
    """Return the adapters as the runtime reads them from its environment."""
    return json.dumps(
        [
            {"name": adapter.source.name, "strength": adapter.strength or FULL_STRENGTH}
            for adapter in adapters
        ]
    )


def folder(adapter: Adapter) -> str:
    """Return where the model server finds the adapter."""
    return f"{ADAPTERS}/{adapter.source.name}"


def unit_name(adapter: Adapter, *, taken: str = "") -> str:
    """Return the name of the adapter's container or volume, a DNS label.

    It has no dots, fits into the length, and is not ``taken``. Adapters' names
    differ also with dots read as dashes.
    """
    written = adapter.source.name or ""
    name = f"adapter-{written.replace('.', '-')}"
    if len(name) <= MAX_NAME and name != taken:
        return name
    digest = hashlib.sha256(written.encode()).hexdigest()[:_DIGEST]
    return f"{name[: MAX_NAME - _DIGEST - 1]}-{digest}"


def _mount(adapter: Adapter) -> dict[str, Any]:
    if adapter.source.volume_source is not None:
        return {"name": unit_name(adapter), "mountPath": folder(adapter)}
    return {
        "name": VOLUME,
        "mountPath": folder(adapter),
        "subPath": adapter.source.name,
    }


def _script(adapter: Adapter, image: str) -> str:
    words = f"no adapter_config.json in {DATA} of the image {image}"
    return (
        f"if [ -e {DATA}/adapter_config.json ]; then exec {TOOLS}/busybox {COPY} "
        f"{DATA}/. {folder(adapter)}/; fi; echo {shlex.quote(words)} >&2; exit 1"
    )
