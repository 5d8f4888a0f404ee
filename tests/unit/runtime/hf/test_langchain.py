"""LangChain's OpenAI client, which asks in its own way."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel, SecretStr

from .conftest import RunningServer

Client = Callable[..., ChatOpenAI]

CONVERSATION = [SystemMessage("Be short."), HumanMessage("What is Kubernetes?")]


class Capital(BaseModel):
    """The capital of a country."""

    name: str


@pytest.fixture
def chat(server: RunningServer) -> Client:
    def make(**options: Any) -> ChatOpenAI:
        return ChatOpenAI(
            model="phi3",
            base_url=f"{server.url}/v1",
            api_key=SecretStr("none"),
            temperature=0,
            max_retries=0,
            **options,
        )

    return make


def test_a_conversation_is_answered_whole_and_in_parts(chat: Client) -> None:
    client = chat(max_completion_tokens=6, stream_usage=True)
    whole = client.invoke(CONVERSATION)
    assert whole.text
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 6
    assert whole.response_metadata["finish_reason"] == "length"
    parts = list(client.stream(CONVERSATION))
    assert "".join(part.text for part in parts) == whole.text
    used = [p.usage_metadata for p in parts if isinstance(p, AIMessageChunk)]
    assert whole.usage_metadata in used


async def test_several_conversations_are_answered_at_once(chat: Client) -> None:
    client = chat(max_completion_tokens=3)
    answers = await client.abatch([CONVERSATION, "a", "b"])
    assert [one.response_metadata["finish_reason"] for one in answers] == ["length"] * 3


def test_options_reach_the_model(chat: Client) -> None:
    client = chat(max_completion_tokens=4, seed=1, logprobs=True, top_logprobs=2)
    answer = client.invoke(CONVERSATION, stop=["\0"])
    content = answer.response_metadata["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in content] == [2] * 4


def test_a_prompt_is_continued(server: RunningServer) -> None:
    client = OpenAI(
        model="phi3",
        base_url=f"{server.url}/v1",
        api_key=SecretStr("none"),
        temperature=0,
        max_tokens=6,
    )
    whole = client.invoke("def main():")
    assert whole
    assert "".join(client.stream("def main():")) == whole
    assert client.batch(["def main():", "class"])[0] == whole


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("json_schema", "this runtime has no guided decoding"),
        ("json_mode", "this runtime has no guided decoding"),
        ("function_calling", "must be 'auto' or 'none'"),
    ],
)
def test_structured_output_is_refused_with_the_reason(
    chat: Client, method: Any, reason: str
) -> None:
    structured = chat().with_structured_output(Capital, method=method)
    with pytest.raises(openai.BadRequestError, match=reason):
        structured.invoke(CONVERSATION)


def test_a_prompt_beyond_the_context_is_told_as_such(chat: Client) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        chat().invoke("a " * 5000)
    assert error.value.code == "context_length_exceeded"
