"""The list of the adapters that running servers follow, in a ConfigMap.

A pod gets an adapter's files when it is made and never later, but it sees each change
of a ConfigMap that it mounts: strengths, and what is served of what the pod has.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.manifests.adapters import listed
from pykaito.reconcilers.inference.manifests.identity import metadata

KEY = "adapters.json"
FOLDER = "/mnt/adapters-list"
FILE = f"{FOLDER}/{KEY}"
VOLUME = "adapters-list"


def config_map(workspace: Workspace, owner: Object) -> dict[str, Any]:
    """Return the ConfigMap with the adapters that are to be served, and how strong."""
    adapters = workspace.inference.adapters if workspace.inference else ()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            **metadata(workspace, owner),
            "name": list_name(workspace.metadata.name),
        },
        "data": {KEY: listed(adapters)},
    }


def list_name(workspace: str) -> str:
    """Return the ConfigMap's name; a ConfigMap's may be longer than a Workspace's."""
    return f"{workspace}-adapters"


def volume(workspace: Workspace) -> dict[str, Any]:
    """Return the volume that the list is on."""
    return {
        "name": VOLUME,
        "configMap": {"name": list_name(workspace.metadata.name)},
    }


def mount() -> dict[str, Any]:
    """Return where the model server finds the list.

    It is the folder that is mounted: a file that is mounted by itself never changes.
    """
    return {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}


def describe_change(before: Object, after: Object) -> str:
    """Return what a list says now that it did not say before; empty for nothing."""
    return ", ".join(_changes(_strengths(before), _strengths(after)))


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name, strength in after.items():
        if name not in before:
            yield f"{name!r} at strength {strength}"
        elif before[name] != strength:
            yield f"{name!r} at strength {strength} instead of {before[name]}"
    yield from (f"no {name!r} any more" for name in before if name not in after)


def _strengths(obj: Object) -> dict[str, str]:
    """Return the strengths of a list; what somebody else wrote into it may be none."""
    try:
        found = json.loads((obj.get("data") or {}).get(KEY, "[]"))
        return {str(one["name"]): str(one["strength"]) for one in found}
    except (ValueError, TypeError, KeyError):
        return {}
