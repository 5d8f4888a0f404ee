"""The bodies of /v1/chat/completions and /v1/completions, field by field.

A field that this runtime cannot honour is refused, with the reason; one that
changes no answer (``user``, ``metadata``) is accepted and ignored; one that
nobody knows is refused, since it is most likely mistyped.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pykaito.runtime.hf.body import Body, Integer, Text
from pykaito.runtime.hf.tool_schema import EarlierCalls, Tool, ToolChoice, Tools

#: Answers to one prompt, beams included: each takes memory of its own.
MAX_SEQUENCES = 32

IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)

UNSUPPORTED = {
    "audio": "this runtime answers with text",
    "best_of": "use n",
    "echo": "send the prompt and the answer together yourself",
    "function_call": "use tool_choice",
    "functions": "use tools",
    "modalities": "this runtime answers with text",
    "prediction": "this runtime has no predicted outputs",
    "reasoning_effort": "this runtime has no reasoning parser",
    "response_format": "this runtime has no guided decoding; only text",
    "suffix": "this runtime only continues a prompt",
    "tool_choice": "ask /v1/chat/completions",
    "tools": "ask /v1/chat/completions",
    "verbosity": "say it in the prompt",
    "web_search_options": "this runtime searches nothing",
}

#: Values of unsupported fields that ask for what would happen anyway.
HARMLESS: tuple[Any, ...] = (
    *(None, [], {}, False, "none", "auto", ["text"], {"type": "text"}),
)


def _is_harmless(value: Any) -> bool:
    """Whether it is one of `HARMLESS`; to Python 0 is False as well."""
    return any(type(value) is type(one) and value == one for one in HARMLESS)


def _with_dropped(schema: dict[str, Any]) -> None:
    """Describe the fields that are gone before the others are looked at."""
    schema["properties"] |= {
        name: {"description": "Accepted, and changes nothing."}
        for name in sorted(IGNORED)
    }
    schema["properties"] |= {
        name: {
            "description": f"Not supported: {reason}. These values ask for nothing.",
            "enum": list(HARMLESS),
        }
        for name, reason in UNSUPPORTED.items()
        if name not in schema["properties"]
    }


StopTexts = Annotated[
    list[Annotated[str, Field(min_length=1)]], Field(max_length=16, fail_fast=True)
]

#: A token id as the name of a field; Python refuses to read thousands of digits.
DIGITS = "^[0-9]{1,20}$"

#: The most that a request may add to a token's logit, or take from it.
MOST_BIAS = 100.0


def _keep_one_wrong(bias: Any) -> Any:
    """Of several wrong entries keep one, as `Body` does with unknown fields."""
    if not isinstance(bias, dict):
        return bias
    for token, value in bias.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not -MOST_BIAS <= value <= MOST_BIAS:
            return {token: value}
    return bias


LogitBias = Annotated[
    dict[str, Annotated[float, Field(ge=-MOST_BIAS, le=MOST_BIAS)]],
    BeforeValidator(_keep_one_wrong),
    Field(json_schema_extra={"propertyNames": {"pattern": DIGITS}}),
]


class StreamOptions(Body):
    """Options of a streamed reply."""

    include_usage: bool = False
    include_obfuscation: bool = False


class SamplingFields(Body):
    """The fields that both endpoints have."""

    model_config = ConfigDict(json_schema_extra=_with_dropped)

    #: Nothing means the one model there is.
    model: str | None = None
    n: Annotated[Integer, Field(ge=1, le=MAX_SEQUENCES)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    #: Not OpenAI's, but vLLM's and so in use: 0 or -1 switches it off.
    top_k: Annotated[Integer, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: LogitBias | None = None
    stop: str | StopTexts | None = None
    seed: Annotated[Integer, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_ignored(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        harmless = {
            name
            for name, value in body.items()
            if name in UNSUPPORTED.keys() - cls.model_fields and _is_harmless(value)
        }
        return {
            name: value
            for name, value in body.items()
            if name not in IGNORED and name not in harmless
        }


class TextPart(Body):
    """A part of a message's content."""

    type: Literal["text"]
    text: Text


def _content_or_calls(schema: dict[str, Any]) -> None:
    """Describe that a message without content has calls of tools."""
    fields, required = schema["properties"], schema["required"]
    required.remove("content")
    text = {"anyOf": [*fields["content"]["anyOf"]]}
    with_content = {"properties": {"content": text}}
    with_calls = {"properties": {"tool_calls": {"type": "array", "minItems": 1}}}
    schema["anyOf"] = [
        {"required": ["content"], **with_content},
        {"required": ["tool_calls"], **with_calls},
    ]
    fields["content"]["anyOf"].append({"type": "null"})


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(
        extra="ignore", strict=True, json_schema_extra=_content_or_calls
    )

    role: Annotated[Text, Field(min_length=1)]
    content: Text | Annotated[list[TextPart], Field(fail_fast=True)]
    #: What an assistant called, and which of these calls a tool answers.
    tool_calls: EarlierCalls | None = None
    tool_call_id: Text | None = None
    name: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _need_no_content_beside_calls(cls, message: Any) -> Any:
        if isinstance(message, dict) and message.get("tool_calls"):
            return {**message, "content": message.get("content") or ""}
        return message

    def plain(self) -> dict[str, Any]:
        """Return the message as chat templates know it."""
        found: dict[str, Any] = {"role": self.role, "content": self._text()}
        if self.tool_calls:
            found["tool_calls"] = [call.plain() for call in self.tool_calls]
        if self.role == "tool":
            told = {"tool_call_id": self.tool_call_id, "name": self.name}
            found |= {name: value for name, value in told.items() if value is not None}
        return found

    def _text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class ChatCompletionBody(SamplingFields):
    """The body of /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    max_tokens: Annotated[Integer, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[Integer, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[Integer, Field(ge=0, le=20)] | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None

    @property
    def callable_tools(self) -> list[Tool]:
        """The tools that the model may call."""
        return [] if self.tool_choice == "none" else self.tools or []


TokenId = Annotated[Integer, Field(json_schema_extra={"minimum": 0})]
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
Prompts = Annotated[
    list[Text | TokenIds],
    Field(min_length=1, max_length=MAX_SEQUENCES, fail_fast=True),
]


class CompletionBody(SamplingFields):
    """The body of /v1/completions."""

    prompt: Text | TokenIds | Prompts
    max_tokens: Annotated[Integer, Field(ge=1)] | None = None
    logprobs: Annotated[Integer, Field(ge=0, le=20)] | None = None
