"""The fields of a chat that concern tools."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pykaito.runtime.hf.body import Body, Text

#: As many tools as OpenAI takes: each is a part of the prompt.
MAX_TOOLS = 128

FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class FunctionDefinition(Body):
    """What a model is told of a function."""

    name: FunctionName
    description: Text | None = None
    #: A JSON Schema of its arguments.
    parameters: dict[str, Any] | None = None
    #: Accepted, and changes nothing: there is no guided decoding.
    strict: bool | None = None


class Tool(Body):
    """A function that a model may call."""

    type: Literal["function"]
    function: FunctionDefinition

    def plain(self) -> dict[str, Any]:
        """Return the tool as chat templates know it."""
        told = self.function.model_dump(exclude_none=True, exclude={"strict"})
        return {"type": "function", "function": {"parameters": {}, **told}}


Tools = Annotated[list[Tool], Field(max_length=MAX_TOOLS, fail_fast=True)]


def _not_forced(choice: Any) -> Any:
    if choice == "required" or isinstance(choice, dict):
        raise ValueError(
            "must be 'auto' or 'none': this runtime has no guided decoding, which it "
            "takes to force a call"
        )
    return choice


ToolChoice = Annotated[Literal["none", "auto"], BeforeValidator(_not_forced)]


def _is_object(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object, written as text")  # noqa: TRY004 - pydantic's way to say so
    return text


class EarlierFunction(BaseModel):
    """What was called, and with what."""

    model_config = ConfigDict(extra="ignore", strict=True)

    name: Text
    arguments: Annotated[Text, AfterValidator(_is_object)]


class EarlierCall(BaseModel):
    """A call that the model made earlier in a conversation."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: Text
    type: Literal["function"] = "function"
    function: EarlierFunction

    def plain(self) -> dict[str, Any]:
        """Return the call as chat templates know it: its arguments are no text."""
        arguments = json.loads(self.function.arguments)
        function = {"name": self.function.name, "arguments": arguments}
        return {"id": self.id, "type": self.type, "function": function}


EarlierCalls = Annotated[list[EarlierCall], Field(max_length=MAX_TOOLS, fail_fast=True)]
