from collections.abc import Callable
from typing import Any

import openai
import pytest
import torch

from pykaito.runtime.hf.loading import LoadedModel

Load = Callable[[str], LoadedModel]
MESSAGES: Any = [{"role": "user", "content": "What is a Workspace?"}]


def complete(server: Any, **fields: Any) -> Any:
    wanted = {"model": "phi3", "prompt": "def main():", "temperature": 0}
    return server.openai.completions.create(**(wanted | fields))


def chat(server: Any, **fields: Any) -> Any:
    wanted = {"model": "phi3", "messages": MESSAGES, "max_tokens": 6, "temperature": 0}
    return server.openai.chat.completions.create(**(wanted | fields))


def test_the_model_list_has_the_fields_that_clients_read(server: Any) -> None:
    model = server.http.get("/v1/models").json()["data"][0]
    assert set(model) == {
        *("id", "object", "created", "owned_by", "root", "parent", "max_model_len"),
    }
    assert (model["id"], model["max_model_len"]) == ("phi3", 4096)
    assert server.openai.models.list().data[0].id == "phi3"


def test_a_completion_is_what_generate_continues_the_prompt_with(
    server: Any, loaded_model: Load
) -> None:
    loaded = loaded_model("phi3")
    prompt = loaded.tokenizer.encode("def main():")
    expected = loaded.model.generate(
        torch.tensor([prompt]), max_new_tokens=12, do_sample=False
    )[0].tolist()

    found = complete(server, max_tokens=12)

    text = loaded.decode(expected)[len(loaded.decode(prompt)) :]
    assert found.choices[0].text == text
    assert found.choices[0].finish_reason == "length"
    assert found.usage.prompt_tokens == len(prompt)
    assert found.usage.completion_tokens == 12
    assert found.usage.total_tokens == len(prompt) + 12


def test_a_completion_that_does_not_say_how_long_has_sixteen_tokens(
    server: Any,
) -> None:
    assert complete(server).usage.completion_tokens == 16


def test_a_prompt_may_be_tokens_and_there_may_be_several(server: Any) -> None:
    assert complete(server, prompt=[40, 41]).usage.prompt_tokens == 2
    several = complete(server, prompt=["one", "two"], max_tokens=3)
    assert [choice.index for choice in several.choices] == [0, 1]
    alone = complete(server, prompt="two", max_tokens=3)
    assert several.choices[1].text == alone.choices[0].text


def test_a_conversation_goes_through_the_models_chat_template(
    server: Any, loaded_model: Load
) -> None:
    loaded = loaded_model("phi3")
    prompt = loaded.tokenizer.apply_chat_template(
        MESSAGES, add_generation_prompt=True, return_dict=False
    )
    found = chat(server)
    assert found.usage.prompt_tokens == len(prompt)
    assert found.choices[0].message.role == "assistant"
    by_tokens = complete(server, prompt=prompt, max_tokens=6)
    assert found.choices[0].message.content == by_tokens.choices[0].text


def test_content_may_come_in_parts_of_text(server: Any) -> None:
    parts = [{"type": "text", "text": MESSAGES[0]["content"]}]
    in_parts = chat(server, messages=[{"role": "user", "content": parts}])
    assert in_parts.choices[0].message == chat(server).choices[0].message


def test_a_streamed_chat_is_the_whole_one_in_pieces(server: Any) -> None:
    events = list(chat(server, stream=True, stream_options={"include_usage": True}))
    *pieces, last = events
    text = "".join(event.choices[0].delta.content or "" for event in pieces)
    whole = chat(server)
    assert text == whole.choices[0].message.content
    assert pieces[0].choices[0].delta.role == "assistant"
    assert pieces[-1].choices[0].finish_reason == "length"
    assert last.choices == []
    assert last.usage == whole.usage


def test_a_streamed_completion_is_the_whole_one_in_pieces(server: Any) -> None:
    events = list(complete(server, stream=True))
    text = "".join(event.choices[0].text for event in events)
    assert text == complete(server).choices[0].text
    assert all(event.usage is None for event in events)


def test_streamed_answers_to_several_prompts_come_side_by_side(server: Any) -> None:
    prompts = ["def main():", "import"]
    events = list(complete(server, prompt=prompts, max_tokens=20, stream=True))
    indices = [event.choices[0].index for event in events]
    assert indices.index(1) < len(indices) - 1 - indices[::-1].index(0)
    whole = complete(server, prompt=prompts, max_tokens=20)
    for choice in whole.choices:
        mine = [event.choices[0] for event in events]
        pieces = [piece for piece in mine if piece.index == choice.index]
        assert "".join(piece.text for piece in pieces) == choice.text
        assert pieces[-1].finish_reason == choice.finish_reason


def test_a_stream_ends_with_the_word_that_clients_wait_for(server: Any) -> None:
    body = {"prompt": "a", "stream": True, "max_tokens": 1}
    reply = server.http.post("/v1/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.endswith("data: [DONE]\n\n")


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(server: Any) -> None:
    free = complete(server).choices[0].text
    found = complete(server, stop=free[5:8])
    assert found.choices[0].text == free[: free.index(free[5:8])]
    assert found.choices[0].finish_reason == "stop"


def test_several_answers_are_several_choices(server: Any) -> None:
    found = chat(server, n=3, temperature=1, seed=1)
    assert [choice.index for choice in found.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in found.choices}) == 3
    assert found.usage.completion_tokens == 18
    events = chat(server, n=3, temperature=1, seed=1, stream=True)
    texts = ["", "", ""]
    for event in events:
        texts[event.choices[0].index] += event.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in found.choices]


def test_a_seed_repeats_an_answer(server: Any) -> None:
    first = chat(server, temperature=1, seed=5)
    again = chat(server, temperature=1, seed=5)
    assert first.choices[0].message == again.choices[0].message


def test_vllms_own_fields_are_understood(server: Any) -> None:
    own = {"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.2}
    found = complete(server, temperature=1, extra_body=own)
    assert found.usage.completion_tokens == 16


def test_a_chat_has_log_probabilities_if_asked(server: Any) -> None:
    found = chat(server, logprobs=True, top_logprobs=2, max_tokens=2)
    content = found.choices[0].logprobs.content
    assert len(content) == 2
    assert len(content[0].top_logprobs) == 2
    # Greedy: the chosen token is the likeliest.
    assert content[0].logprob == content[0].top_logprobs[0].logprob
    assert content[0].logprob <= 0
    assert chat(server).choices[0].logprobs is None


def test_a_completion_has_log_probabilities_if_asked(server: Any) -> None:
    found = complete(server, logprobs=1, max_tokens=3).choices[0].logprobs
    assert len(found.tokens) == len(found.token_logprobs) == 3
    assert found.text_offset[0] == 0
    assert found.text_offset[2] == len(found.tokens[0]) + len(found.tokens[1])


def test_a_number_without_a_fraction_is_an_integer(server: Any) -> None:
    body = {"prompt": [40.0, 41], "max_tokens": 2.0}
    reply = server.http.post("/v1/completions", json=body)
    assert reply.json()["usage"]["completion_tokens"] == 2
    body["max_tokens"] = 2.5
    assert server.http.post("/v1/completions", json=body).status_code == 400


def test_fields_that_change_no_answer_are_accepted(server: Any) -> None:
    chat(server, user="me", metadata={"a": "b"}, store=False, tools=[])
    chat(server, response_format={"type": "text"}, tool_choice="none")


def test_another_models_name_is_not_found(server: Any) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        chat(server, model="gpt-4")
    assert error.value.code == "model_not_found"
    assert error.value.param == "model"
    assert "'gpt-4'" in error.value.message
    assert "'phi3'" in error.value.message


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"temperature": 3}, "temperature", "found 3, must be less than or equal to 2"),
        ({"temperature": "hot"}, "temperature", "found 'hot', must be a valid number"),
        ({"top_p": 0}, "top_p", "found 0, must be greater than 0"),
        ({"n": 0}, "n", "found 0, must be greater than or equal to 1"),
        ({"n": 2}, "n", "found 2, must be 1 with temperature 0"),
        ({"presence_penalty": 5}, "presence_penalty", "found 5, must be less than"),
        ({"max_tokens": 0}, "max_tokens", "found 0, must be greater than or equal"),
        ({"messages": []}, "messages", "found [], "),
        ({"messages": "hi"}, "messages", "found 'hi', must be a valid list"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "required, found no"),
        ({"stop": ["x"] * 17}, "stop", "found ["),
        ({"logit_bias": {"x": 1}}, "logit_bias", "found 'x', must be a token id"),
        ({"logit_bias": {"9999": 1}}, "logit_bias", "found token id 9999, the model's"),
        ({"top_logprobs": 2}, "top_logprobs", "found without logprobs"),
        ({"stream_options": {}}, "stream_options", "found without stream"),
        ({"max_tokns": 2}, "max_tokns", "unknown field; did you mean 'max_tokens'?"),
        ({"functions": [{}]}, "functions", "not supported, use tools"),
        (
            {"response_format": {"type": "json_object"}},
            "response_format",
            "not supported, this runtime has no guided decoding",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_was_found_and_what_is_right(
    server: Any, fields: dict[str, Any], param: str, message: str
) -> None:
    body = {"messages": MESSAGES, "temperature": 0} | fields
    reply = server.http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"].startswith(f"{param}: {message}")


@pytest.mark.parametrize(
    "prompt", [5, [], [[]], "", ["a", 5], [9999], [-1], {"text": "a"}, ["a"] * 33]
)
def test_a_prompt_that_is_none_is_refused(server: Any, prompt: Any) -> None:
    body = {"prompt": prompt, "max_tokens": 1}
    reply = server.http.post("/v1/completions", json=body)
    if prompt == "":  # Phi-3 begins every text with a token of its own
        assert reply.status_code == 200
    else:
        assert reply.status_code == 400
        assert reply.json()["error"]["param"].startswith("prompt")


def test_a_prompt_beyond_the_context_is_told_its_length_and_the_limit(
    server: Any,
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        complete(server, prompt=[40] * 5000)
    assert error.value.code == "context_length_exceeded"
    assert "found 5000 tokens, the model's context holds 4096" in error.value.message


def test_more_tokens_than_the_context_has_room_for_are_refused(server: Any) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        complete(server, prompt=[40] * 4000, max_tokens=97)
    assert error.value.param == "max_tokens"
    assert "4000 tokens of prompt leave room for 96" in error.value.message


def test_a_model_without_a_chat_template_says_so(start_server: Any) -> None:
    server = start_server(architecture="falcon")
    server.lifecycle.reader._chat_template = None
    reply = server.http.post("/v1/chat/completions", json={"messages": MESSAGES})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "no_chat_template"


def test_what_a_chat_template_refuses_is_the_clients_fault(server: Any) -> None:
    template = server.lifecycle.reader._chat_template
    server.lifecycle.reader._chat_template = "{{ raise_exception('roles!') }}"
    reply = server.http.post("/v1/chat/completions", json={"messages": MESSAGES})
    server.lifecycle.reader._chat_template = template
    assert reply.status_code == 400
    assert "roles!" in reply.json()["error"]["message"]
