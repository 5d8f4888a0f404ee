"""Schemas with descriptions: a field's is the docstring below it in the source.

pydantic can read these itself, but then does so whenever a model is imported.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import ModelSchema

from pykaito.api.structural import structural_schema


@cache
def described_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a kind, with descriptions."""
    return structural_schema(model, _Described)


class _Described(GenerateJsonSchema):
    def model_schema(self, schema: ModelSchema) -> dict[str, Any]:
        """Describe the fields of a model."""
        described = super().model_schema(schema)
        model = schema["cls"]
        for name, text in _docstrings(model).items():
            field = model.model_fields[name]
            described["properties"][field.alias or name]["description"] = text
        return described


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings of a model's fields, its own before its parents'."""
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if issubclass(parent, BaseModel) and parent is not BaseModel:
            found |= _own_docstrings(parent)
    return found


def _own_docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    for field, text in pairwise(getattr(definition, "body", ())):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                yield name, inspect.cleandoc(words)
