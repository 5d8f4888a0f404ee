"""From a definition to its CustomResourceDefinition, as YAML."""

from typing import Any

import yaml

from hack.generate.described import described_schema
from hack.generate.schemas import in_words
from pykaito.api.definitions import Column, Definition, Version
from pykaito.api.meta import GROUP

HEADER = "# Made from api/ by `make generate`; changes here are overwritten.\n"


def file_name(definition: Definition) -> str:
    """Return the name of a definition's file, as controller-gen names them."""
    return f"{GROUP}_{definition.plural}.yaml"


def to_yaml(definition: Definition) -> str:
    """Return the manifest of a definition's CRD."""
    return HEADER + yaml.safe_dump(
        custom_resource_definition(definition),
        sort_keys=False,
        allow_unicode=True,
        width=88,
    )


def custom_resource_definition(definition: Definition) -> dict[str, Any]:
    """Return the CRD object of a definition."""
    names: dict[str, Any] = {
        "kind": definition.kind,
        "listKind": f"{definition.kind}List",
        "plural": definition.plural,
        "singular": definition.kind.lower(),
    }
    if definition.short_names:
        names["shortNames"] = list(definition.short_names)
    if definition.categories:
        names["categories"] = list(definition.categories)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": "Namespaced",
            "conversion": {"strategy": "None"},
            "versions": [_version(version) for version in definition.versions],
        },
    }


def _version(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "served": True,
        "storage": version.storage,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in version.columns],
        "schema": {"openAPIV3Schema": in_words(described_schema(version.model))},
    }


def _column(column: Column) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
    }
    if column.wide:
        result["priority"] = 1
    return result
