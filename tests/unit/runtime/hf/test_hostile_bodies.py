"""Bodies that no well-meaning client sends: each gets a clear and cheap refusal."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from pykaito.runtime.hf.chat_schema import ChatBody
from pykaito.runtime.hf.openai_schema import ChatCompletionBody, CompletionBody

MANY = 10_000
LONE_SURROGATE = "\\ud800"


def refused(server: Any, path: str, body: str | bytes) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    reply = server.http.post(path, content=body, headers=headers)
    assert reply.status_code == 400, reply.text
    error: dict[str, Any] = reply.json()["error"]
    return error


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/chat", '{"prompt": "%s"}', "prompt"),
        ("/chat", '{"prompt": "a", "prefix": "%s"}', "prefix"),
        ("/v1/completions", '{"prompt": "%s"}', "prompt"),
        ("/v1/completions", '{"prompt": ["a", "%s"]}', "prompt"),
        ("/v1/completions", '{"prompt": "a", "logit_bias": {"%s": 1}}', "logit_bias"),
        ("/v1/completions", '{"prompt": "a", "%s": 1}', "\\ud800"),
        (
            "/v1/chat/completions",
            '{"messages": [{"role": "user", "content": "%s"}]}',
            "messages.0.content",
        ),
        (
            "/v1/chat/completions",
            '{"messages":[{"role":"a","content":[{"type":"text","text":"%s"}]}]}',
            "messages.0.content",
        ),
    ],
)
def test_half_of_a_surrogate_pair_is_no_text(
    server: Any, path: str, body: str, param: str
) -> None:
    error = refused(server, path, body % LONE_SURROGATE)
    assert error["param"].startswith(param)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"prompt": "\xff"}', "can't decode byte 0xff in position 12"),
        ('{"prompt": ' + "[" * 5000 + "]" * 5000 + "}", "recursion depth"),
        ('{"prompt": "a", "max_tokens": ' + "9" * 5000 + "}", "4300 digits"),
    ],
)
def test_json_that_cannot_be_read_is_refused_with_the_reason(
    server: Any, body: Any, message: str
) -> None:
    error = refused(server, "/v1/completions", body)
    assert error["code"] == "invalid_json"
    assert message in error["message"]


@pytest.mark.parametrize("token", ["9" * 5000, "٣" * 50, "-1", "", "1e3"])
def test_a_token_id_that_is_no_number_is_refused(server: Any, token: str) -> None:
    body = {"prompt": "a", "logit_bias": {token: 1}}
    error = refused(server, "/v1/completions", json.dumps(body))
    assert error["param"] == "logit_bias"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", '{"prompt": "a", "temperature": %s}', "temperature"),
        ("/v1/completions", '{"prompt": "a", "min_p": %s}', "min_p"),
        (
            "/v1/completions",
            '{"prompt": "a", "logit_bias": {"5": %s}}',
            "logit_bias.5",
        ),
        (
            "/chat",
            '{"prompt": "a", "generate_kwargs": {"length_penalty": %s}}',
            "generate_kwargs.length_penalty",
        ),
    ],
)
def test_what_is_no_finite_number_is_refused(
    server: Any, path: str, body: str, param: str, value: str
) -> None:
    assert refused(server, path, body % value)["param"] == param


def test_a_field_whose_name_is_no_identifier_is_named_as_it_was_sent(
    server: Any,
) -> None:
    error = refused(server, "/v1/completions", '{"prompt": "a", "top k": 1}')
    assert error["param"] == "top k"
    assert error["message"] == "top k: unknown field; did you mean 'top_k'?"


@pytest.mark.parametrize(
    "body",
    [
        '{"prompt": "a", "%s": 1}',
        '{"prompt": "a", "logit_bias": {"%s": 1}}',
        '{"prompt": "a", "temperature": "%s"}',
    ],
)
def test_what_was_found_is_repeated_in_brief(server: Any, body: str) -> None:
    error = refused(server, "/v1/completions", body % ("x" * 100_000))
    assert len(error["message"]) < 300


def test_the_name_of_another_model_is_repeated_in_brief(server: Any) -> None:
    body = {"prompt": "a", "model": "x" * 100_000}
    reply = server.http.post("/v1/completions", json=body)
    assert reply.status_code == 404
    assert len(reply.text) < 300


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (CompletionBody, {"prompt": [1.5] * MANY}),
        (CompletionBody, {"prompt": [[1.5] * MANY] * 2}),
        (CompletionBody, {"prompt": "a", "stop": [1] * MANY}),
        (CompletionBody, {"prompt": "a", "logit_bias": dict.fromkeys("abcdefgh", "")}),
        (CompletionBody, {"prompt": "a"} | {f"a{i}": 1 for i in range(MANY)}),
        (ChatCompletionBody, {"messages": [1] * MANY}),
        (ChatCompletionBody, {"messages": [{"role": "a", "content": [1] * MANY}]}),
        (ChatBody, {"messages": [1] * MANY}),
        (ChatBody, {"prompt": "a", "generate_kwargs": {"eos_token_id": [""] * 1000}}),
        (
            ChatBody,
            {"prompt": "a", "generate_kwargs": {"bad_words_ids": [[""] * 9] * 999}},
        ),
        (
            ChatBody,
            {"prompt": "a", "generate_kwargs": {f"a{i}": 1 for i in range(MANY)}},
        ),
    ],
)
def test_many_mistakes_cost_no_more_than_one(
    schema: type[BaseModel], body: dict[str, Any]
) -> None:
    """A body of megabytes held the event loop for half a minute."""
    with pytest.raises(ValidationError) as refusal:
        schema.model_validate(body)
    # One for each alternative of a field that may be several things.
    assert refusal.value.error_count() <= 4
