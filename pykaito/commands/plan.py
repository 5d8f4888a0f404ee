"""``pykaito plan``: what a Workspace would become, without a cluster.

What renders the objects is loaded where they are asked for.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.commands.check import Checked, RefusedError, check
from pykaito.commands.description import describe
from pykaito.commands.documents import DocumentError, read
from pykaito.commands.failure import fail
from pykaito.commands.formats import Structured, dump_objects
from pykaito.commands.surroundings import surroundings


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller knows beside the Workspaces."""

    #: Where a Workspace goes that names no namespace.
    namespace: str
    #: Nodes to bind to, as a,b; made-up names when empty.
    nodes: str
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
            nodes = _nodes(checked, request)
            if form:
                from pykaito.commands.rendering import objects_of  # noqa: PLC0415

                objects += objects_of(checked, nodes, request.transformers_image)
            else:
                described.append(describe(checked, request.transformers_image))
        except RefusedError as error:
            refused += [f"{document.source}: {fault}" for fault in error.faults]
    text = "\n".join(described) if form is None else dump_objects(objects, form)
    if not form or objects:
        sys.stdout.write(text)
    if refused:
        fail(*refused)


def _nodes(checked: Checked, request: Request) -> tuple[str, ...]:
    """Return the nodes to bind to.

    Raises:
        RefusedError: other than as many nodes are named as are planned.
    """
    workspace, count = checked.workspace, checked.plan.nodes
    named = tuple(node for node in request.nodes.split(",") if node)
    nodes = named or placeholders(workspace, count)
    if len(nodes) != count:
        raise RefusedError(
            f"--nodes: found {len(nodes)} ({', '.join(nodes)}); Workspace "
            f"{workspace.metadata.name} takes {count}"
        )
    return nodes


def placeholders(workspace: Workspace, count: int) -> tuple[str, ...]:
    """Return the preferred nodes, and made-up names for those that are missing."""
    named = workspace.resource.preferred_nodes[:count]
    made_up = (f"node-{number}" for number in range(len(named) + 1, count + 1))
    return (*named, *made_up)
