"""From a raw object to a model, or an error that names the field."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from pykaito.api.meta import ApiModel

_Model = TypeVar("_Model", bound=ApiModel)
_LONGEST_VALUE = 80


class InvalidObjectError(ValueError):
    """An object does not have the shape of its kind.

    The message names the object and, for each fault, the field's path, what is
    wrong with it and what was found.
    """


def parse(model: type[_Model], obj: Mapping[str, Any]) -> _Model:
    """Return `obj` as an instance of `model`.

    Only shape and types are checked: the CRD's CEL rules, which compare fields
    with each other, are the API server's. Raises `InvalidObjectError`.
    """
    try:
        return model.model_validate(obj)
    except ValidationError as error:
        faults = "; ".join(
            f"{_path(fault['loc'])}: {fault['msg']}{_found(fault)}"
            for fault in error.errors(include_url=False)
        )
        raise InvalidObjectError(f"{_name(model, obj)}: {faults}") from error


def _name(model: type[ApiModel], obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping):
        return model.__name__
    parts = (metadata.get("namespace"), metadata.get("name"))
    return f"{model.__name__} {'/'.join(str(part) for part in parts if part)}".strip()


def _path(location: tuple[int | str, ...]) -> str:
    """Write a path as the API server does: inference.adapters[0].source."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".") or "the object"


def _found(fault: Mapping[str, Any]) -> str:
    """Say what was found, unless it is the lack of a value or too long to read."""
    if fault["type"] == "missing":
        return ""
    value = repr(fault["input"])
    if len(value) > _LONGEST_VALUE:
        value = value[: _LONGEST_VALUE - 1] + "…"
    return f", found {value}"
