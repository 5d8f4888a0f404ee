"""What is wrong with a Workspace before anything is applied: pure."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pykaito.api.parse import InvalidObjectError, parse
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.reconcilers.gpu_facts import offers
from pykaito.reconcilers.hub.folder import find_offline
from pykaito.reconcilers.node_facts import node_facts
from pykaito.runtime.presets.plan import (
    NOTHING_KNOWN,
    Known,
    Plan,
    PlanError,
    plan,
)

#: Parts of an object that a spec's author does not write, or that hold fields
#: which the model leaves out on purpose.
_NOT_COMPARED = frozenset({"metadata", "status"})


class RefusedError(Exception):
    """A Workspace that would be refused, or that nothing would serve."""


def check(
    obj: Mapping[str, Any], model_configs: Path | None = None
) -> tuple[Workspace, Plan]:
    """Return the Workspace and the plan of what serves it.

    Args:
        obj: the Workspace.
        model_configs: a folder with ORG/NAME/config.json of models that the
            catalogue does not have.

    Raises:
        RefusedError: the message names the Workspace, the field, what was found
            and what would be right.
    """
    name = _name(obj)
    try:
        workspace = parse(Workspace, obj)
    except InvalidObjectError as error:
        raise RefusedError(str(error)) from None
    if not workspace.metadata.name:
        raise RefusedError(f"{name}: metadata.name: found none; name the Workspace")
    if unknown := sorted(unknown_fields(obj, workspace)):
        raise RefusedError(
            f"{name}: {', '.join(unknown)}: no such field; kubectl explain workspace "
            "lists the fields there are"
        )
    try:
        # No node is known here: the instance type says what GPUs there will be.
        facts = node_facts(workspace, nodes=())
        shown = offers(workspace.resource.instance_type)
        known = _known(workspace, model_configs)
        return workspace, plan(workspace, facts, shown, known)
    except PlanError as error:
        raise RefusedError(f"{name}: {error} ({error.reason})") from None


def _known(workspace: Workspace, model_configs: Path | None) -> Known:
    """Return what can be known of the model without a network."""
    if workspace.inference is None or workspace.inference.preset is None:
        return NOTHING_KNOWN
    return Known(preset=find_offline(workspace.inference.preset, model_configs))


def unknown_fields(obj: Mapping[str, Any], workspace: Workspace) -> Iterator[str]:
    """Yield the paths of fields that the API does not have.

    The model ignores them, so that it reads objects of a newer CRD; `kubectl
    apply` refuses them, because nearly always they are a misspelling.
    """
    known = workspace.model_dump(by_alias=True, exclude_unset=True)
    for field in obj:
        if field not in _NOT_COMPARED:
            yield from _unknown(obj[field], known.get(field), field, field in known)


def _unknown(found: Any, known: Any, path: str, exists: bool) -> Iterator[str]:
    if not exists:
        yield path
    elif isinstance(found, Mapping) and isinstance(known, Mapping):
        for field, value in found.items():
            below = f"{path}.{field}"
            yield from _unknown(value, known.get(field), below, field in known)
    elif isinstance(found, list) and isinstance(known, list | tuple):
        for number, (value, read) in enumerate(zip(found, known, strict=False)):
            yield from _unknown(value, read, f"{path}[{number}]", exists=True)


def _name(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    parts = (metadata.get("namespace"), metadata.get("name"))
    return f"Workspace {'/'.join(str(part) for part in parts if part)}".strip()
