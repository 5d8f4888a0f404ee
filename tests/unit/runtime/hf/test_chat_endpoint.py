import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pykaito.runtime.hf.loading import LoadedModel

Load = Callable[[str], LoadedModel]
GREEDY = {"do_sample": False}

#: The example of KAITO's documentation, with all its parameters.
DOCUMENTED = """{
    "prompt":"YOUR_PROMPT_HERE",
    "return_full_text": false,
    "clean_up_tokenization_spaces": false,
    "prefix": null,
    "handle_long_generation": null,
    "generate_kwargs": {
            "max_length":200,
            "min_length":0,
            "do_sample":true,
            "early_stopping":false,
            "num_beams":1,
            "num_beam_groups":1,
            "diversity_penalty":0.0,
            "temperature":1.0,
            "top_k":10,
            "top_p":1,
            "typical_p":1,
            "repetition_penalty":1,
            "length_penalty":1,
            "no_repeat_ngram_size":0,
            "encoder_no_repeat_ngram_size":0,
            "bad_words_ids":null,
            "num_return_sequences":1,
            "output_scores":false,
            "return_dict_in_generate":false,
            "forced_bos_token_id":null,
            "forced_eos_token_id":null,
            "remove_invalid_values":null
        }
    }"""


def ask(server: Any, **fields: Any) -> Any:
    body = {"prompt": "class Engine:", "generate_kwargs": GREEDY} | fields
    return server.http.post("/chat", json=body)


def result(server: Any, **fields: Any) -> str:
    reply = ask(server, **fields)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["Result"])


def generated(loaded: LoadedModel, prompt: str, **arguments: Any) -> str:
    ids = loaded.tokenizer.encode(prompt)
    options = {"do_sample": False, "max_length": 200} | arguments
    found = loaded.model.generate(torch.tensor([ids]), **options)
    return loaded.decode(found[0].tolist())


def test_the_documented_request_is_answered_as_it_is_written(server: Any) -> None:
    reply = server.http.post(
        "/chat", content=DOCUMENTED, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 200
    assert isinstance(reply.json()["Result"], str)
    assert not reply.json()["Result"].startswith("YOUR_PROMPT_HERE")


def test_the_shortest_request_is_answered_with_the_full_text(server: Any) -> None:
    reply = server.http.post("/chat", json={"prompt": "YOUR_PROMPT_HERE"})
    assert reply.json()["Result"].startswith("YOUR_PROMPT_HERE")


def test_the_text_is_what_generate_continues_the_prompt_with(
    server: Any, loaded_model: Load
) -> None:
    expected = generated(loaded_model("phi3"), "class Engine:")
    assert result(server) == expected


def test_the_prompt_may_be_left_out_of_the_answer(server: Any) -> None:
    kwargs = GREEDY | {"max_length": 30}
    whole = result(server, generate_kwargs=kwargs)
    answer = result(server, generate_kwargs=kwargs, return_full_text=False)
    assert answer == whole.removeprefix("class Engine:")


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_new_tokens": 7},
        {"max_length": 30, "num_beams": 3, "early_stopping": True},
        {"max_length": 30, "num_beams": 2, "length_penalty": 2.0},
        {"max_length": 40, "repetition_penalty": 1.5},
        {"max_length": 40, "no_repeat_ngram_size": 2},
        {"max_length": 40, "encoder_no_repeat_ngram_size": 1},
        {"max_length": 20, "forced_eos_token_id": 3},
        {"max_length": 20, "bad_words_ids": [[300], [301, 302]]},
        {"max_length": 20, "min_length": 15, "remove_invalid_values": True},
    ],
)
def test_arguments_of_generate_mean_what_they_mean_there(
    server: Any, loaded_model: Load, arguments: dict[str, Any]
) -> None:
    expected = generated(loaded_model("phi3"), "class Engine:", **arguments)
    assert result(server, generate_kwargs=GREEDY | arguments) == expected


def test_a_prefix_comes_before_the_prompt(server: Any, loaded_model: Load) -> None:
    short = {"max_length": 30}
    expected = generated(loaded_model("phi3"), "# Code\nclass Engine:", **short)
    found = result(server, prefix="# Code\n", generate_kwargs=GREEDY | short)
    assert found == expected


def test_several_sequences_are_one_text_and_a_list(server: Any) -> None:
    kwargs = {"num_return_sequences": 2, "num_beams": 2, "max_new_tokens": 5}
    reply = ask(server, generate_kwargs=kwargs | GREEDY).json()
    assert len(reply["Results"]) == 2
    assert reply["Result"] == "".join(reply["Results"])


def test_messages_are_answered_by_the_assistant(server: Any) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    kwargs = GREEDY | {"max_new_tokens": 6}
    body = {"messages": messages, "generate_kwargs": kwargs}
    answer = server.http.post("/chat", json=body).json()["Result"]
    body = {"messages": messages, "max_tokens": 6, "temperature": 0}
    reply = server.http.post("/v1/chat/completions", json=body).json()
    assert answer == reply["choices"][0]["message"]["content"]


def test_a_conversational_pipeline_takes_the_prompt_as_a_users_message(
    start_server: Any, server: Any
) -> None:
    conversational = start_server("--pipeline=conversational")
    kwargs = GREEDY | {"max_new_tokens": 6}
    messages = [{"role": "user", "content": "Hello"}]
    asked = conversational.http.post(
        "/chat", json={"prompt": "Hello", "generate_kwargs": kwargs}
    )
    told = server.http.post(
        "/chat", json={"messages": messages, "generate_kwargs": kwargs}
    )
    assert asked.json() == told.json()
    neither = conversational.http.post("/chat", json={})
    assert neither.json()["error"]["param"] == "messages"


def test_a_hole_lets_a_long_prompt_lose_its_beginning(server: Any) -> None:
    kwargs = GREEDY | {"max_new_tokens": 4}
    long = "word " * 5000
    refused = ask(server, prompt=long, generate_kwargs=kwargs)
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    answered = ask(
        server,
        prompt=long,
        generate_kwargs=kwargs,
        handle_long_generation="hole",
        return_full_text=False,
    )
    assert answered.status_code == 200


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"top_kk": 1}, "generate_kwargs.top_kk: unknown field; did you mean 'top_k'?"),
        ({"num_beam_groups": 2}, "generate_kwargs.num_beam_groups: found 2, must be 1"),
        (
            {"diversity_penalty": 1.0},
            "generate_kwargs.diversity_penalty: found 1.0, mu",
        ),
        ({"penalty_alpha": 0.6}, "generate_kwargs: found {'penalty_alpha': 0.6}, pen"),
        ({"temperature": 0}, "generate_kwargs.temperature: found 0, must be greater"),
        ({"temperature": "a"}, "generate_kwargs.temperature: found 'a', must be a val"),
        ({"top_p": 2}, "generate_kwargs.top_p: found 2, must be less than or equal t"),
        ({"num_beams": 1000}, "generate_kwargs.num_beams: found 1000, must be less"),
        ({"max_length": 0}, "generate_kwargs.max_length: found 0, must be greater"),
        ({"max_length": 2}, "generate_kwargs.max_length: found 2, which the prompt of"),
        ({"max_new_tokens": 9999}, "generate_kwargs.max_new_tokens: found 9999, but"),
        ({"bad_words_ids": [[9999]]}, "generate_kwargs.bad_words_ids: found token id"),
        ({"eos_token_id": 9999}, "generate_kwargs.eos_token_id: found token id 9999"),
        ({"bad_words_ids": [5]}, "generate_kwargs.bad_words_ids.0: found 5, must be"),
        (
            {"num_return_sequences": 3, "num_beams": 2},
            "generate_kwargs: found {'num_return_sequences': 3, 'num_beams': 2}, num_r",
        ),
        (
            {"num_return_sequences": 2, "do_sample": False},
            "generate_kwargs: found {",
        ),
        ("top_k=1", "generate_kwargs: found 'top_k=1', must be a valid dictionary"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_found_and_what_is_right(
    server: Any, kwargs: Any, message: str
) -> None:
    reply = ask(server, generate_kwargs=kwargs)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(message)


def test_neither_prompt_nor_messages_is_refused(server: Any) -> None:
    reply = server.http.post("/chat", json={})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("prompt: required")


def test_the_documented_json_is_the_one_in_the_documents(server: Any) -> None:
    fields = set(json.loads(DOCUMENTED)["generate_kwargs"])
    schema = server.http.get("/openapi.json").json()
    known = schema["components"]["schemas"]["GenerateKwargs"]["properties"]
    assert fields <= set(known)


def test_null_is_the_default_of_known_fields_alone(server: Any) -> None:
    body = {"prompt": "a", "prefix": None, "generate_kwargs": {"top_k": None}}
    assert server.http.post("/chat", json=body).status_code == 200
    reply = server.http.post("/chat", json=body | {"promt": None})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "promt"
