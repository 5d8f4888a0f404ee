"""Workspaces and Machines that are to be refused, or taken, and why.

The entries lie in the YAML files beside this one, each a change to a valid object
of a sort. `creations.yaml` and `updates.yaml` are refused by the CRD alone;
`admission.yaml` takes the catalogue, the tables of instance types or a ConfigMap,
so that the webhook refuses it, and the reconcilers where the webhook is away.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

Object = dict[str, Any]

HERE = Path(__file__).parent

_BASE: Mapping[str, Any] = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "falcon"},
    "resource": {
        "instanceType": "Standard_NC24ads_A100_v4",
        "labelSelector": {"matchLabels": {"apps": "falcon-7b"}},
    },
}
SORTS: Mapping[str, Mapping[str, Any]] = {
    "inference": {**_BASE, "inference": {"preset": {"name": "falcon-7b"}}},
    "tuning": {
        **_BASE,
        "tuning": {
            "preset": {"name": "falcon-7b"},
            "method": "lora",
            "input": {"urls": ["https://example.com/data.parquet"]},
            "output": {
                "image": "registry.example.com/tuned:1",
                "imagePushSecret": "push",
            },
        },
    },
    "machine": {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Machine",
        "metadata": {"name": "falcon-0"},
        "spec": {
            "provisioner": "karpenter",
            "instanceType": "Standard_NC24ads_A100_v4",
        },
    },
}
"""Valid objects."""


@dataclass(frozen=True)
class Case:
    """One object and what is said of it."""

    name: str
    obj: Object
    #: What it replaces; None where it is created.
    old: Object | None
    #: ConfigMaps that lie in its namespace.
    beside: tuple[Object, ...]
    #: Who refuses it: the API server by the CRD, or the webhook; "" for nobody.
    refused_by: Literal["cel", "webhook", ""]
    #: The field that the refusal blames.
    path: str
    #: A part of what the refusal says of it.
    message: str

    @property
    def is_workspace(self) -> bool:
        """Whether it is not a Machine."""
        return bool(self.obj["kind"] == "Workspace")


def make(sort: str, changes: Mapping[str, Any] | None = None) -> Object:
    """Return a valid object of a sort, with dotted paths changed; None removes one.

    A key that holds dots itself is written last and in brackets:
    `metadata.annotations[kaito.sh/runtime]`.
    """
    result = copy.deepcopy(dict(SORTS[sort]))
    for path, value in (changes or {}).items():
        dotted, _, key = path.removesuffix("]").partition("[")
        *parents, last = [*dotted.split("."), *([key] if key else [])]
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
        if value is None:
            del target[last]
        else:
            target[last] = copy.deepcopy(value)
    return result


def creations() -> list[Case]:
    """Return what the CRD says of objects that are created."""
    return _cases("creations.yaml", "cel")


def updates() -> list[Case]:
    """Return what the CRD says of objects that replace another."""
    return _cases("updates.yaml", "cel")


def admissions() -> list[Case]:
    """Return Workspaces that the CRD takes, and what the webhook says of them."""
    return _cases("admission.yaml", "webhook")


def invalid_workspaces() -> list[Case]:
    """Return every Workspace that must not be created, whoever refuses it."""
    return [
        case
        for case in [*creations(), *admissions()]
        if case.refused_by and case.is_workspace
    ]


def _cases(file: str, refused_by: Literal["cel", "webhook"]) -> list[Case]:
    loaded = yaml.safe_load((HERE / file).read_text())
    return [
        *(_case(entry, refused_by) for entry in loaded["refused"]),
        *(_case(entry, "") for entry in loaded["accepted"]),
    ]


def _case(entry: Mapping[str, Any], refused_by: Literal["cel", "webhook", ""]) -> Case:
    sort = entry["sort"]
    return Case(
        name=entry["it"],
        obj=make(sort, entry["change"]),
        old=make(sort, entry["stored"]) if "stored" in entry else None,
        beside=tuple(
            _config_map(name, data)
            for name, data in entry.get("configMaps", {}).items()
        ),
        refused_by=refused_by,
        path=entry.get("field", ""),
        message=entry.get("says", ""),
    )


def _config_map(name: str, data: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": dict(data),
    }
