"""The bodies of /v1/chat/completions and /v1/completions, field by field.

A field that this runtime cannot honour is refused, with the reason; one that
changes no answer (``user``, ``metadata``) is accepted and ignored; one that
nobody knows is refused, since it is most likely mistyped.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pykaito.runtime.hf.body import Body, Integer, Text

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
    "function_call": "this runtime calls no tools",
    "functions": "this runtime calls no tools",
    "modalities": "this runtime answers with text",
    "prediction": "this runtime has no predicted outputs",
    "reasoning_effort": "this runtime has no reasoning parser",
    "response_format": "this runtime has no guided decoding; only text",
    "suffix": "this runtime only continues a prompt",
    "tool_choice": "this runtime calls no tools",
    "tools": "this runtime calls no tools",
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
            if name in UNSUPPORTED and _is_harmless(value)
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


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="ignore", strict=True)

    role: Annotated[Text, Field(min_length=1)]
    content: Text | Annotated[list[TextPart], Field(fail_fast=True)]

    def plain(self) -> dict[str, str]:
        """Return the message as chat templates know it."""
        if isinstance(self.content, str):
            return {"role": self.role, "content": self.content}
        text = "\n".join(part.text for part in self.content)
        return {"role": self.role, "content": text}


class ChatCompletionBody(SamplingFields):
    """The body of /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    max_tokens: Annotated[Integer, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[Integer, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[Integer, Field(ge=0, le=20)] | None = None


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
