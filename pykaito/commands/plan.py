"""``pykaito plan``: what a Workspace would become, without a cluster."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.commands.check import Checked, RefusedError, check
from pykaito.commands.description import describe
from pykaito.commands.documents import DocumentError, read
from pykaito.commands.failure import fail
from pykaito.commands.formats import Structured, dump_objects
from pykaito.commands.surroundings import surroundings
from pykaito.reconcilers.inference import manifests
from pykaito.reconcilers.workspace.machines import machine_object


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
    around = surroundings(documents, request.namespace, request.model_configs)
    described, objects, refused = [], [], []
    for document in workspaces:
        try:
            checked = check(document.obj, around)
            objects += objects_of(checked, request)
            described.append(describe(checked, request.transformers_image))
        except RefusedError as error:
            refused += [f"{document.source}: {fault}" for fault in error.faults]
    text = "\n".join(described) if form is None else dump_objects(objects, form)
    if not form or objects:
        sys.stdout.write(text)
    if refused:
        fail(*refused)


def objects_of(checked: Checked, request: Request) -> list[dict[str, Any]]:
    """Return the Machines, the Service and the Deployment that would be applied.

    They lack the owner reference, which needs the uid that the API server gives
    the Workspace.

    Raises:
        RefusedError: other than as many nodes are named as are planned.
    """
    workspace, planned = checked.workspace, checked.plan
    nodes = request.nodes or placeholders(workspace, planned.nodes)
    if len(nodes) != planned.nodes:
        raise RefusedError(
            f"--nodes: found {len(nodes)} ({', '.join(nodes)}); Workspace "
            f"{workspace.metadata.name} takes {planned.nodes}"
        )
    owner = {**checked.obj, "metadata": {**checked.obj["metadata"], "uid": ""}}
    owner["metadata"]["name"] = workspace.metadata.name
    objects = [
        *(machine_object(owner, workspace, planned, node) for node in nodes),
        manifests.service(workspace, owner),
        manifests.deployment(
            workspace,
            owner,
            planned,
            nodes=nodes,
            runtime_image=request.transformers_image,
            config=checked.config,
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
