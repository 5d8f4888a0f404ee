"""Which adapters' files a pod template brings, and whether those will do: pure.

A pod can get no init container and no volume once it is made, so that another source
is a rollout. Files that are there and not asked for any more harm nobody: a template
keeps bringing them until something else of it changes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pykaito.api.v1beta1.adapter import Adapter
from pykaito.api.v1beta1.data import DataSource
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object

#: What a pod template brings, as a JSON list of `inference.adapters[*].source`.
SOURCES = "kaito.sh/adapters"
#: Of the template as it was rendered: neither defaults nor others' fields count.
DIGEST = "kaito.sh/template-digest"


def recorded(
    template: Mapping[str, Any], adapters: Sequence[Adapter]
) -> dict[str, Any]:
    """Return a pod template that says which adapters it brings."""
    metadata = template["metadata"]
    sources = [_dump(adapter.source) for adapter in adapters]
    annotations = {
        **(metadata.get("annotations") or {}),
        SOURCES: json.dumps(sources, sort_keys=True),
    }
    said = {**template, "metadata": {**metadata, "annotations": annotations}}
    text = json.dumps(said, sort_keys=True)
    annotations[DIGEST] = hashlib.sha256(text.encode()).hexdigest()
    return said


def with_brought(
    workspace: Workspace, deployed: Object | None, pods: Sequence[Object]
) -> Workspace | None:
    """Return the Workspace with the adapters that its pods have, if they will do.

    None where they lack one, or are the very same; and while a pod is being made: it
    is made of what is wanted, and may be waiting for what is not.

    Args:
        workspace: as it is wanted.
        deployed: its Deployment, None before there is one.
        pods: its pods.
    """
    if deployed is None or workspace.inference is None or any(map(_is_pending, pods)):
        return None
    wanted = [adapter.source for adapter in workspace.inference.adapters]
    found = _sources(deployed)
    if found == wanted or not all(source in found for source in wanted):
        return None
    adapters = tuple(Adapter(source=source) for source in found)
    inference = workspace.inference.model_copy(update={"adapters": adapters})
    return workspace.model_copy(update={"inference": inference})


def is_template_of(rendered: Object, deployed: Object) -> bool:
    """Whether a Deployment was applied with the pod template that is rendered now."""
    digest = _annotations(rendered).get(DIGEST)
    return digest is not None and digest == _annotations(deployed).get(DIGEST)


def brings_adapters(deployment: Object) -> bool:
    """Whether the pods of a Deployment follow a list of adapters."""
    return SOURCES in _annotations(deployment)


def _dump(source: DataSource) -> dict[str, Any]:
    return source.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _sources(deployed: Object) -> list[DataSource]:
    """Return what a Deployment brings; nothing where somebody changed what it says."""
    try:
        written = json.loads(_annotations(deployed).get(SOURCES, "[]"))
        return [DataSource.model_validate(source) for source in written]
    except (ValueError, TypeError):
        return []


def _annotations(deployment: Object) -> Mapping[str, str]:
    metadata = deployment["spec"]["template"].get("metadata") or {}
    return metadata.get("annotations") or {}


def _is_pending(pod: Object) -> bool:
    leaving = pod["metadata"].get("deletionTimestamp")
    return not leaving and (pod.get("status") or {}).get("phase") == "Pending"
