from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import ConfigDict, Field, create_model

from pykaito.api.meta import ApiModel, ObjectMeta
from pykaito.api.schema import PRESERVE_UNKNOWN, Int32, Quantity, Rule, rules
from pykaito.api.structural import UnsupportedSchemaError, structural_schema

A_RULE = Rule(rule="self.a", holds=lambda self: self["a"], message="always")
B_RULE = Rule(rule="self.b", holds=lambda self: self["b"], message="more")


class Colour(StrEnum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Part(ApiModel):
    """A part, by its own words."""

    model_config = ConfigDict(json_schema_extra=rules(A_RULE))

    a: str = ""


def kind(**fields: Any) -> type[ApiModel]:
    """Make a kind that has these fields beside the usual ones."""
    usual = {"api_version": str, "kind": str, "metadata": ObjectMeta}
    return create_model("Kind", __base__=ApiModel, **{**usual, **fields})


def field(annotation: Any) -> dict[str, Any]:
    """Return the schema of one field."""
    properties = structural_schema(kind(value=annotation))["properties"]
    schema: dict[str, Any] = properties["value"]
    return schema


def test_what_every_kind_has_is_left_to_kubernetes() -> None:
    assert list(structural_schema(kind(value=str))["properties"]) == ["value"]


def test_of_metadata_a_restricted_name_is_kept() -> None:
    class Meta(ObjectMeta):
        name: Annotated[str, Field(max_length=52)] = ""

    schema = structural_schema(kind(metadata=Meta, value=str))
    assert schema["properties"]["metadata"] == {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 52}},
    }


def test_a_reference_is_replaced_by_what_it_names() -> None:
    schema = field(Part)
    assert schema["type"] == "object"
    assert schema["properties"] == {"a": {"type": "string"}}


def test_an_optional_field_is_not_nullable_but_not_required() -> None:
    assert field(Annotated[str, Field(max_length=9)] | None) == {
        "type": "string",
        "maxLength": 9,
    }


def test_a_fields_description_wins_over_its_types() -> None:
    described = Annotated[Part, Field(description="the\n  field's words")]
    assert field(Part)["description"] == "A part, by its own words."
    assert field(described)["description"] == "the field's words"


def test_the_rules_of_a_type_and_of_a_field_both_hold() -> None:
    ruled = Annotated[Part, Field(json_schema_extra=rules(B_RULE))]
    for annotation in (ruled, ruled | None):
        found = [rule.rule for rule in field(annotation)["x-kubernetes-validations"]]
        assert found == ["self.a", "self.b"]


def test_an_enum_is_its_values() -> None:
    assert field(Colour)["enum"] == ["red", "blue"]
    assert field(Literal["red"])["enum"] == ["red"]


def test_a_quantity_is_a_number_or_text() -> None:
    schema = field(Quantity)
    assert schema["x-kubernetes-int-or-string"] is True
    assert "type" not in schema


def test_numbers_keep_their_format_and_a_minimum_of_zero() -> None:
    assert field(Annotated[Int32, Field(ge=0)]) == {
        "type": "integer",
        "format": "int32",
        "minimum": 0,
        "maximum": 2**31 - 1,
    }


def test_a_tuple_is_a_list_with_its_limit() -> None:
    assert field(Annotated[tuple[str, ...], Field(max_length=3)]) == {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": 3,
    }


def test_an_object_of_another_api_keeps_its_fields() -> None:
    foreign = Annotated[dict[str, Any], Field(json_schema_extra=dict(PRESERVE_UNKNOWN))]
    assert field(foreign) == {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }


@pytest.mark.parametrize(
    "annotation",
    [
        pytest.param(str | int, id="a union of types"),
        pytest.param(Annotated[int, Field(gt=0)], id="an exclusive limit"),
        pytest.param(Annotated[float, Field(multiple_of=2)], id="a step"),
        pytest.param(tuple[str, int], id="a list of different types"),
        pytest.param(dict[str, Any], id="an object of anything"),
        pytest.param(dict[Colour, str], id="a restricted key"),
    ],
)
def test_what_a_crd_cannot_hold_is_an_error_that_names_the_field(
    annotation: Any,
) -> None:
    with pytest.raises(UnsupportedSchemaError, match=r"^Kind\.value: "):
        field(annotation)


class Defaults(ApiModel):
    """A kind with defaults."""

    api_version: str = "v1"
    kind: str = "Defaults"
    metadata: ObjectMeta
    count: int = 1
    text: str = ""
    names: tuple[str, ...] = ()
    part: Part | None = None
    whole: Part = Part(a="set")


def test_a_default_that_only_means_absent_is_left_out() -> None:
    properties = structural_schema(Defaults)["properties"]
    defaults = {k: v["default"] for k, v in properties.items() if "default" in v}
    assert defaults == {"count": 1, "whole": {"a": "set"}}
