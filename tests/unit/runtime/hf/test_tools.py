"""Tools through the API: a real server, a template that knows them, OpenAI's client.

The model is a small one of random weights. What it says is made sure of by a token
that stands for a whole call, and a bias for it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from .conftest import RunningServer, StartServer
from .templates import IN_TAGS

CALL = '<tool_call>{"name":"Capital","arguments":{"of":"France"}}</tool_call>'
TOOL = {
    "type": "function",
    "function": {
        "name": "Capital",
        "description": "The capital of a country.",
        "parameters": {"type": "object", "properties": {"of": {"type": "string"}}},
    },
}
QUESTION = {"role": "user", "content": "What is the capital of France?"}


class Capital(BaseModel):
    """The capital of a country."""

    of: str


@pytest.fixture(scope="module")
def calling(
    start_server: StartServer,
    model_folder: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> RunningServer:
    """Start a server of a model whose last token is a call."""
    folder = tmp_path_factory.mktemp("calling") / "phi3"
    shutil.copytree(model_folder("phi3"), folder)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    last = "".join(tokenizer["model"]["merges"].pop())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[CALL] = vocabulary.pop(last)
    file.write_text(json.dumps(tokenizer))
    template = folder / "tools.jinja"
    template.write_text(IN_TAGS)
    return start_server(
        f"--pretrained_model_name_or_path={folder}",
        "--served_model_name=phi3",
        f"--chat_template={template}",
    )


@pytest.fixture
def bias(calling: RunningServer) -> dict[str, int]:
    vocabulary = calling.lifecycle.reader.vocabulary_size
    return {str(vocabulary - 1): 100}


def ask(server: RunningServer, **fields: Any) -> Any:
    wanted = {"messages": [QUESTION], "tools": [TOOL], "max_tokens": 1} | fields
    return server.openai.chat.completions.create(model="phi3", temperature=0, **wanted)


def test_a_call_is_told_apart(calling: RunningServer, bias: dict[str, int]) -> None:
    (choice,) = ask(calling, logit_bias=bias, logprobs=True).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    assert (call.type, call.function.name) == ("function", "Capital")
    assert json.loads(call.function.arguments) == {"of": "France"}
    assert [token.token for token in choice.logprobs.content] == [CALL]


def test_several_calls_have_ids_of_their_own(
    calling: RunningServer, bias: dict[str, int]
) -> None:
    (choice,) = ask(calling, logit_bias=bias, max_tokens=3).choices
    assert len({call.id for call in choice.message.tool_calls}) == 3


def test_a_stream_has_each_call_whole(
    calling: RunningServer, bias: dict[str, int]
) -> None:
    events = list(ask(calling, logit_bias=bias, max_tokens=2, stream=True))
    deltas = [event.choices[0].delta for event in events]
    assert not any(delta.content for delta in deltas)
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [call.index for call in calls] == [0, 1]
    arguments = [json.loads(call.function.arguments) for call in calls]
    assert arguments == [{"of": "France"}] * 2
    assert events[-1].choices[0].finish_reason == "tool_calls"


def test_an_answer_without_a_call_is_content(calling: RunningServer) -> None:
    (whole,) = ask(calling, max_tokens=8).choices
    assert whole.message.content
    assert whole.message.tool_calls is None
    assert whole.finish_reason == "length"
    parts = [event.choices[0] for event in ask(calling, max_tokens=8, stream=True)]
    assert "".join(part.delta.content or "" for part in parts) == whole.message.content


def test_the_prompt_has_the_tools_unless_none_may_be_called(
    calling: RunningServer, bias: dict[str, int]
) -> None:
    with_tools = ask(calling).usage.prompt_tokens
    without = ask(calling, tools=openai.omit).usage.prompt_tokens
    assert with_tools > without
    forbidden = ask(calling, tool_choice="none", logit_bias=bias)
    assert forbidden.usage.prompt_tokens == without
    assert forbidden.choices[0].message.content == CALL


def test_a_conversation_goes_on_after_a_call(
    calling: RunningServer, bias: dict[str, int]
) -> None:
    called = ask(calling, logit_bias=bias).choices[0].message
    answer = {
        "role": "tool",
        "content": "Paris",
        "tool_call_id": called.tool_calls[0].id,
    }
    earlier = called.model_dump(exclude_none=True)
    reply = ask(calling, messages=[QUESTION, {**earlier, "content": None}, answer])
    assert reply.usage.prompt_tokens > ask(calling).usage.prompt_tokens


def test_langchain_binds_tools_and_asks_for_structures(
    calling: RunningServer, bias: dict[str, int]
) -> None:
    chat = ChatOpenAI(
        model="phi3",
        base_url=f"{calling.url}/v1",
        api_key=SecretStr("none"),
        temperature=0,
        max_retries=0,
        max_completion_tokens=1,
        logit_bias=bias,
    ).bind_tools([Capital])
    (call,) = chat.invoke("France?").tool_calls
    assert (call["name"], call["args"]) == ("Capital", {"of": "France"})
    whole = None
    for chunk in chat.stream("France?"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.tool_calls[0]["args"] == {"of": "France"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"tool_choice": "required"},
            "tool_choice: found 'required', must be 'auto' or 'none': this runtime has",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools.0.function.name: found 'a b', ",
        ),
        (
            {"tools": [{"type": "retrieval"}]},
            "tools.0.type: found 'retrieval', must be",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {"id": "1", "function": {"name": "a", "arguments": "[1]"}}
                        ],
                    }
                ]
            },
            "messages.0.tool_calls.0.function.arguments: found '[1]', must be a JSON",
        ),
        (
            {"tools": [{**TOOL, "function": {"name": "a", "description": "\ud800"}}]},
            "tools.0.function.description: found ",
        ),
        (
            {
                "tools": [
                    {**TOOL, "function": {"name": "a", "parameters": {"\ud800": 1}}}
                ]
            },
            "messages: the model's chat template refuses them: ",
        ),
    ],
)
def test_what_is_wrong_with_tools_is_told(
    calling: RunningServer, fields: dict[str, Any], message: str
) -> None:
    body = {"messages": [QUESTION], "tools": [TOOL]} | fields
    reply = calling.http.post(
        "/v1/chat/completions",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(message)


def test_tools_need_a_template_that_knows_them(server: RunningServer) -> None:
    with pytest.raises(openai.BadRequestError, match="chat template does not say how"):
        ask(server)


def test_a_completion_knows_no_tools(calling: RunningServer) -> None:
    body = {"prompt": "a", "max_tokens": 1, "tools": [TOOL]}
    reply = calling.http.post("/v1/completions", json=body)
    assert reply.status_code == 400
    assert "ask /v1/chat/completions" in reply.json()["error"]["message"]
