"""Workspaces that nobody thought of: valid ones with some parts put wrong."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.api.validate import object_schema
from tests.corpus.cases import creations

Object = dict[str, Any]
Path = tuple[str | int, ...]

_VALID = [
    case.obj
    for case in creations()
    if not case.refused_by and case.is_workspace and "name" in case.obj["metadata"]
]

_TEXTS = st.one_of(
    st.sampled_from(
        [
            "", "a", "A", "a.b", "a-", "a b", "org/name", "falcon-7b", "lora", "QLORA",
            "private", "mig", "accelerator", "1g.10gb", "In", "Exists", "0.5", "2",
            "1e-2", "x" * 54, "x" * 64, "x" * 254, "kaito.sh/workspace", "ü", "a\nb",
            "http://localhost/a", "https://example.com/a", "http://10.1.2.3", "a:1",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
)  # fmt: skip
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([1024, 1025, 2**31, 2**63, 0.5, 1.0, -0.0]),
    _TEXTS,
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3)
    ),
    max_leaves=4,
)


@st.composite
def mutations(draw: st.DrawFn) -> tuple[Object, Object]:
    """Take a valid Workspace; return it, and with up to three parts put wrong."""
    valid = draw(st.sampled_from(_VALID))
    obj = copy.deepcopy(valid)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(sorted(_places(obj), key=str)))
        parent = _at(obj, path[:-1])
        last = path[-1]
        match draw(st.sampled_from(["put", "put", "remove", "repeat"])):
            case "put":
                parent[last] = draw(_VALUES)
            case "remove":
                if isinstance(parent, dict):
                    parent.pop(last, None)
                elif parent:
                    parent.pop()
            case _:
                if isinstance(parent, list) and parent:
                    parent.append(copy.deepcopy(parent[0]))
    return valid, obj


def _places(obj: Object) -> Iterator[Path]:
    """Yield where something is, or by the schema could be, but for the metadata."""
    for name, field in object_schema(Workspace)["properties"].items():
        if name not in {"apiVersion", "kind", "metadata"}:
            yield (name,)
            yield from _below(field, obj.get(name), (name,))


def _below(schema: Any, value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        for name in {*value, *fields}:
            yield (*path, name)
            inner = fields.get(name, schema.get("additionalProperties", {}))
            yield from _below(inner, value.get(name), (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield (*path, number)
            yield from _below(schema.get("items", {}), item, (*path, number))


def _at(obj: Object, path: Path) -> Any:
    found: Any = obj
    for part in path:
        found = found[part]
    return found
