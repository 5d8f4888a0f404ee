"""What the bodies of all endpoints have in common.

pydantic reports every error there is, and a body of some megabytes has room for a
million of them: half a minute on the event loop and gigabytes of memory. One is
told to the client, so lists stop at their first wrong item, and unknown fields
after the first are dropped before they are looked at.
"""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    model_validator,
)


class Body(BaseModel):
    """A body whose fields are all known, and have the right types."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _keep_one_unknown_field(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = cls.model_fields
        kept = {name: value for name, value in values.items() if name in known}
        unknown = next((name for name in values if name not in kept), None)
        if unknown is not None:
            kept[_printable(unknown)] = values[unknown]
        return kept


def without_nulls(values: Any, *names: str) -> Any:
    """Return the fields, among those of the names, that are not null."""
    if not isinstance(values, dict):
        return values
    return {
        name: value
        for name, value in values.items()
        if value is not None or name not in names
    }


def with_nulls(schema: dict[str, Any]) -> None:
    """Describe that null stands for the default of each field."""
    for name, field in schema["properties"].items():
        told = {key: field.pop(key) for key in ("title", "default") if key in field}
        has_null = {"type": "null"} in field.get("anyOf", ())
        either = field if has_null else {"anyOf": [field, {"type": "null"}]}
        schema["properties"][name] = {**either, **told}


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


#: 4.0 is an integer to JSON, which knows numbers only.
Integer = Annotated[int, BeforeValidator(_whole)]


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"must be Unicode text: character {error.start} is half of a surrogate pair"
        ) from None
    return text


#: JSON can spell halves of surrogate pairs, which no tokenizer can read.
Text = Annotated[str, AfterValidator(_encodable)]
