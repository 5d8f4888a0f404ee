"""What lies around a Workspace, as far as the caller and the files tell."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pykaito.commands.defaults import PROVISIONER
from pykaito.commands.documents import Document
from pykaito.operator.objects import Key, Object
from pykaito.runtime.presets.runtimes import DEFAULT_RUNTIME, Runtime


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a Workspace may refer to."""

    #: Where objects go that name no namespace.
    namespace: str = "default"
    config_maps: Mapping[Key, Object] = field(default_factory=dict)
    #: A folder with ORG/NAME/config.json of models that the catalogue does not have.
    model_configs: Path | None = None
    #: Who makes the nodes of Workspaces that name nobody.
    provisioner: str = PROVISIONER
    #: What serves presets whose Workspace names no runtime.
    default_runtime: Runtime = DEFAULT_RUNTIME


def surroundings(
    documents: Iterable[Document],
    namespace: str,
    model_configs: Path | None,
    provisioner: str = PROVISIONER,
    default_runtime: Runtime = DEFAULT_RUNTIME,
) -> Surroundings:
    """Return what the documents hold that a Workspace may refer to, and the rest."""
    placed = (
        in_namespace(document.obj, namespace)
        for document in documents
        if document.kind == "ConfigMap"
    )
    config_maps = {
        Key(metadata["namespace"], str(metadata.get("name"))): obj
        for obj in placed
        if isinstance(metadata := obj.get("metadata"), Mapping)
    }
    return Surroundings(
        namespace, config_maps, model_configs, provisioner, default_runtime
    )


def in_namespace(obj: Mapping[str, Any], namespace: str) -> Mapping[str, Any]:
    """Return an object, in the namespace unless it names one itself."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get("namespace"):
        return obj
    return {**obj, "metadata": {**metadata, "namespace": namespace}}
