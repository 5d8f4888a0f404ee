"""``pykaito plan``: what a Workspace would become, without a cluster.

What renders objects is loaded where they are asked for.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pykaito.commands.check import Checked, RefusedError, check
from pykaito.commands.description import describe
from pykaito.commands.documents import DocumentError, read
from pykaito.commands.failure import fail
from pykaito.commands.formats import Structured, dump_objects
from pykaito.commands.surroundings import surroundings
from pykaito.runtime.presets.runtimes import Runtime


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller knows beside the Workspaces."""

    #: Where a Workspace goes that names no namespace.
    namespace: str
    #: Prepared nodes to bind to, as a,b.
    nodes: str
    #: Who makes the nodes of Workspaces that name nobody.
    provisioner: str
    #: Image of each runtime.
    images: Mapping[Runtime, str]
    #: What serves presets whose Workspace names no runtime.
    default_runtime: Runtime
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
    around = surroundings(
        documents,
        request.namespace,
        request.model_configs,
        request.provisioner,
        request.default_runtime,
    )
    described, objects, refused = [], [], []
    for document in workspaces:
        try:
            checked = check(document.obj, around)
            prepared = _prepared(checked, request)
            if form:
                from pykaito.commands.rendering import objects_of  # noqa: PLC0415

                objects += objects_of(checked, prepared, request.images)
            else:
                made = _made(checked, prepared)
                described.append(describe(checked, made, request.images))
        except RefusedError as error:
            refused += [f"{document.source}: {fault}" for fault in error.faults]
    text = "\n".join(described) if form is None else dump_objects(objects, form)
    if not form or objects:
        sys.stdout.write(text)
    if refused:
        fail(*refused)


def _prepared(checked: Checked, request: Request) -> tuple[str, ...]:
    """Return the prepared nodes to bind to, those of the caller first.

    Raises:
        RefusedError: more of them are named than are planned, or fewer where nobody
            makes the rest.
    """
    workspace, count = checked.workspace, checked.plan.nodes
    named = tuple(node for node in request.nodes.split(",") if node)
    if len(named) > count or (named and len(named) < count and not checked.maker):
        raise RefusedError(
            f"--nodes: found {len(named)} ({', '.join(named)}); Workspace "
            f"{workspace.metadata.name} takes {count}"
        )
    return named or workspace.resource.preferred_nodes[:count]


def _made(checked: Checked, prepared: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Return the Machines whose nodes would be made."""
    if checked.maker is None:
        return ()
    from pykaito.commands.placement import machines_of  # noqa: PLC0415

    machines = machines_of(checked, prepared)
    return [machine for machine in machines if "nodeName" not in machine["spec"]]
