"""The machine-readable forms: what ``-o json``, ``-o yaml`` and ``-o name`` print."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import yaml


class Structured(StrEnum):
    """Forms for programs; without ``-o`` a command prints for people."""

    JSON = "json"
    YAML = "yaml"


class Listing(StrEnum):
    """Forms of a list."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class _Dumper(yaml.SafeDumper):
    """Writes a value out each time it occurs, as kubectl does, never an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def dump(value: Any, form: Structured) -> str:
    """Return one value as JSON or YAML, with the newline that ends it."""
    if form is Structured.JSON:
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


def dump_objects(objects: Sequence[Any], form: Structured) -> str:
    """Return Kubernetes objects so that `kubectl -f -` reads them."""
    if form is Structured.JSON:
        return dump({"apiVersion": "v1", "kind": "List", "items": list(objects)}, form)
    return "---\n".join(dump(obj, form) for obj in objects)
