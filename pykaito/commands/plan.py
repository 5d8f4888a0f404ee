"""``pykaito plan``: what a Workspace would become, without a cluster."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.commands.check import RefusedError, check
from pykaito.commands.documents import DocumentError, read
from pykaito.commands.failure import fail
from pykaito.commands.formats import Structured, dump_objects
from pykaito.commands.models import tokens
from pykaito.reconcilers.inference import manifests
from pykaito.runtime.presets.plan import Plan


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller knows beside the Workspaces."""

    #: Where a Workspace goes that names no namespace.
    namespace: str
    #: Nodes to bind to; made-up names when empty.
    nodes: tuple[str, ...]
    transformers_image: str
    #: A folder with ORG/NAME/config.json of models that the catalogue does not have.
    model_configs: Path | None = None


def show(paths: Sequence[str], request: Request, form: Structured | None) -> None:
    """Print the plan of each Workspace; exit with 1 if there is one without."""
    try:
        documents = [document for path in paths for document in read(path)]
    except DocumentError as error:
        fail(str(error))
    workspaces = [document for document in documents if document.is_workspace]
    if not workspaces:
        fail(f"{', '.join(paths)}: found no Workspace of the group kaito.sh")
    described, objects, refused = [], [], []
    for document in workspaces:
        try:
            obj = _in_namespace(document.obj, request.namespace)
            workspace, planned = check(obj, request.model_configs)
            objects += objects_of(workspace, planned, document.obj, request)
            described.append(describe(workspace, planned, request.transformers_image))
        except RefusedError as error:
            refused.append(f"{document.source}: {error}")
    text = "\n".join(described) if form is None else dump_objects(objects, form)
    if not form or objects:
        sys.stdout.write(text)
    if refused:
        fail(*refused)


def describe(workspace: Workspace, planned: Plan, image: str) -> str:
    """Return a plan in words for people."""
    resource, server = workspace.resource, planned.server
    if server is None:
        raise NotImplementedError
    preset = server.preset
    selector = resource.label_selector.as_labels()
    lines = {
        "model": f"{preset.name} ({preset.licence}), "
        f"{tokens(server.context_length)} tokens of context",
        "served as": f"{server.served_model_name} at "
        f"http://{workspace.metadata.name}.{workspace.metadata.namespace}.svc",
        "nodes": f"{planned.nodes}, one replica on each",
        "of type": resource.instance_type or "any",
        "labels": ",".join(f"{k}={v}" for k, v in sorted(selector.items())) or "any",
        "preferred": ", ".join(resource.preferred_nodes) or "none",
        "GPUs": f"{planned.gpus_per_node} per node for {preset.weights_gib}Gi of "
        f"weights; {preset.disk_gib}Gi of disk",
        "runtime": server.runtime,
        "image": image,
        "weights": f"copied from the image {server.weights_image}"
        if server.weights_image
        else f"downloaded from the hub, {preset.hub}",
    }
    if planned.warnings:
        lines["warning"] = "; ".join(planned.warnings)
    width = max(map(len, lines)) + 2
    body = "".join(f"  {key.ljust(width)}{value}\n" for key, value in lines.items())
    return f"{workspace.metadata.namespace}/{workspace.metadata.name}\n{body}"


def objects_of(
    workspace: Workspace, planned: Plan, obj: Mapping[str, Any], request: Request
) -> list[dict[str, Any]]:
    """Return the Service and the Deployment that would be applied.

    They lack the owner reference, which needs the uid that the API server gives
    the Workspace.

    Raises:
        RefusedError: other than as many nodes are named as are planned.
    """
    nodes = request.nodes or placeholders(workspace, planned.nodes)
    if len(nodes) != planned.nodes:
        raise RefusedError(
            f"--nodes: found {len(nodes)} ({', '.join(nodes)}); Workspace "
            f"{workspace.metadata.name} takes {planned.nodes}"
        )
    owner = {**obj, "metadata": {**obj["metadata"], "uid": ""}}
    objects = [
        manifests.service(workspace, owner),
        manifests.deployment(
            workspace,
            owner,
            planned,
            nodes=nodes,
            runtime_image=request.transformers_image,
        ),
    ]
    for made in objects:
        del made["metadata"]["ownerReferences"]
    return objects


def placeholders(workspace: Workspace, count: int) -> tuple[str, ...]:
    """Return the preferred nodes, and made-up names for those that are missing."""
    named = workspace.resource.preferred_nodes[:count]
    made_up = (f"node-{number}" for number in range(len(named) + 1, count + 1))
    return (*named, *made_up)


def _in_namespace(obj: Mapping[str, Any], namespace: str) -> Mapping[str, Any]:
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get("namespace"):
        return obj
    return {**obj, "metadata": {**metadata, "namespace": namespace}}
