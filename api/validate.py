"""What is wrong with an object, before anything is looked up: one answer for all.

The API server refuses by the CRD. The webhook, the reconcilers and the command
line ask here, so that a cluster whose CRD is older, or a file that no cluster has
seen, is told the same.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

from pykaito.api.check import ABSENT, check
from pykaito.api.defaults import with_defaults
from pykaito.api.meta import ApiModel
from pykaito.api.schemas import read_schema
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.api.violation import Violation

_GENERATED = "xxxxx"
"""What the API server appends to metadata.generateName, as far as rules go."""

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def violations(
    obj: Mapping[str, Any],
    old: Mapping[str, Any] | None = None,
    *,
    model: type[ApiModel] = Workspace,
) -> list[Violation]:
    """Return every fault of an object that takes no outside knowledge to see.

    None means that the API server takes it by its CRD, and that `parse` reads it
    once it is `normalized`. The status is not looked at: it is not its author's.

    Args:
        obj: the raw object, as its author wrote it or as it is stored.
        old: what it replaces; None where it is created, or where it is stored
            and merely looked at.
        model: its kind.
    """
    schema = object_schema(model)
    before = ABSENT if old is None else normalized(old, model=model)
    return check(schema, normalized(obj, model=model), before)


def normalized(
    obj: Mapping[str, Any], *, model: type[ApiModel] = Workspace
) -> dict[str, Any]:
    """Return an object without status, as the API server would store it.

    Unknown fields stay; where the API server makes up a name, one stands for it.
    """
    result: dict[str, Any] = with_defaults(object_schema(model), obj)
    result.pop("status", None)
    metadata = result.get("metadata")
    if isinstance(metadata, dict) and not metadata.get("name"):
        metadata.pop("name", None)
        if isinstance(prefix := metadata.get("generateName"), str) and prefix:
            metadata["name"] = f"{prefix}{_GENERATED}"
    return result


@cache
def object_schema(model: type[ApiModel]) -> dict[str, Any]:
    """Return the schema of a whole object as its author writes it.

    Beside the CRD's it has what every kind has, of which labels and names are
    checked for no more than their type: the API server needs no CRD for them.
    """
    schema = read_schema(model.__name__)
    fields = {k: v for k, v in schema["properties"].items() if k != "status"}
    metadata = fields.pop("metadata", {"properties": {"name": {"type": "string"}}})
    envelope = {
        "apiVersion": _one_of(model, "api_version"),
        "kind": _one_of(model, "kind"),
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {
                **metadata["properties"],
                "generateName": {"type": "string"},
                "namespace": {"type": "string"},
                "labels": _TEXTS,
                "annotations": _TEXTS,
            },
        },
    }
    return {
        **schema,
        "required": [*envelope, *schema["required"]],
        "properties": {**envelope, **fields},
    }


def _one_of(model: type[ApiModel], field: str) -> dict[str, Any]:
    return {"type": "string", "enum": get_args(model.model_fields[field].annotation)}
