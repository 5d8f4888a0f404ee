"""What the bodies of all endpoints have in common.

pydantic reports every error there is, and a body of some megabytes has room for a
million of them: half a minute on the event loop and gigabytes of memory. One is
told to the client, so lists stop at their first wrong item, and unknown fields
after the first are dropped before they are looked at.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator


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


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


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
