"""The replies, as /openapi.json describes them and tests check them.

Replies are made as plain dicts, without a validation that would cost time for each
token. A field with a default may be missing.
"""

from typing import Literal

from pydantic import BaseModel

FinishReason = Literal["stop", "length"]
ChatFinishReason = Literal["stop", "length", "tool_calls"]


class ErrorDetail(BaseModel):
    """What went wrong, for a person and for a program."""

    message: str
    type: str
    #: The field at fault, dotted.
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """OpenAI's error body."""

    error: ErrorDetail


class Answering(BaseModel):
    """The process answers."""

    message: Literal["Server is running"]


class Healthy(BaseModel):
    """Requests are taken."""

    status: Literal["Healthy"]


class Loading(BaseModel):
    """The model is on its way into memory."""

    status: Literal["Loading"]
    stage: str
    #: From 0 to 1; nothing where nobody knows.
    progress: float | None


class Draining(BaseModel):
    """No more requests are taken."""

    status: Literal["Draining"]


class Unhealthy(BaseModel):
    """Only a restart helps."""

    status: Literal["Unhealthy"]
    reason: str


class Model(BaseModel):
    """A model that requests may name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: str | None
    max_model_len: int


class ModelList(BaseModel):
    """The models that are served."""

    object: Literal["list"]
    data: list[Model]


class Usage(BaseModel):
    """The tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Envelope(BaseModel):
    """What every reply and every event of a stream has."""

    id: str
    created: int
    model: str


class TopLogprob(BaseModel):
    """A token, and how likely the model found it."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """The token that was chosen, and the likeliest at its place."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """How likely the tokens of an answer were."""

    content: list[TokenLogprob]
    refusal: None


class CalledFunction(BaseModel):
    """What is to be called; the arguments are a JSON object as text."""

    name: str
    arguments: str


class ToolCall(BaseModel):
    """A call that the client is to make."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class ToolCallDelta(ToolCall):
    """A call, whole, as the stream has it."""

    index: int


class ChatMessage(BaseModel):
    """The answer to a conversation."""

    role: Literal["assistant"]
    #: Null where the answer is calls of tools alone.
    content: str | None
    tool_calls: list[ToolCall] = []


class ChatChoice(BaseModel):
    """One of the answers that were asked for."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: ChatFinishReason


class ChatCompletion(Envelope):
    """The answers to a conversation."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage


class Delta(BaseModel):
    """What an event adds to an answer."""

    role: Literal["assistant"] = "assistant"
    content: str = ""
    tool_calls: list[ToolCallDelta] = []


class ChatChunkChoice(BaseModel):
    """An event's part of one answer."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: ChatFinishReason | None


class ChatCompletionChunk(Envelope):
    """An event of a streamed answer; the last may have no choice but the usage."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChatChunkChoice]
    usage: Usage | None = None


class CompletionLogprobs(BaseModel):
    """How likely the tokens of a completion were, each list by token."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChunkChoice(BaseModel):
    """An event's part of one completion."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason | None


class CompletionChoice(CompletionChunkChoice):
    """One of the completions that were asked for."""

    finish_reason: FinishReason


class Completion(Envelope):
    """The completions of a prompt or of several."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    usage: Usage


class CompletionChunk(Envelope):
    """An event of a streamed completion; the last may have no choice but the usage."""

    object: Literal["text_completion"]
    choices: list[CompletionChunkChoice]
    usage: Usage | None = None


class ChatResult(BaseModel):
    """The reply of /chat. ``Results`` is there where several texts were asked for."""

    Result: str
    Results: list[str] = []
