"""Bodies of any kind, right and wrong: each is answered, and the server lives.

Short in `make test`; SOAK_FACTOR multiplies the examples.
"""

import asyncio
import gc
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykaito.runtime.hf.app import build_app
from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.generation import RunningGeneration
from pykaito.runtime.hf.lifecycle import Lifecycle
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.hf.service import Run
from pykaito.runtime.hf.start_engine import start_engine

#: Keeps the longest answer short.
CONTEXT = 48
MAX_BYTES = 20_000
#: Seconds for one request; a hang is a failure.
PATIENCE = 60

#: transformers says so when min_length is beyond the end, and ends there.
pytestmark = pytest.mark.filterwarnings("ignore:Unfeasible length:UserWarning")

fuzz = settings(
    max_examples=25 * int(os.environ.get("SOAK_FACTOR", "1")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

#: With halves of surrogate pairs, which JSON can spell.
any_text = st.text(st.characters(exclude_categories=()), max_size=12)
any_number = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**30), 1e308, 5e-324])
)
any_json = st.recursive(
    st.none() | st.booleans() | any_number | any_text,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(any_text, inner, max_size=4)
        | st.lists(inner, min_size=40, max_size=40)
    ),
    max_leaves=8,
)

tokens = st.integers(0, 2047)
share = st.floats(0.01, 1)
prompts = any_text | st.sampled_from(
    ["a", "def main():", "", "\0", "👩‍👩‍👧", "<|end|>", "a " * 60]
)
messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "system", "assistant", "x"]) | any_text,
            "content": prompts
            | st.lists(
                st.fixed_dictionaries({"type": st.just("text"), "text": prompts})
            ),
        }
    ),
    min_size=1,
    max_size=3,
)

#: What is right for each field; a body mixes it with what is not.
SAMPLING: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(1, 3),
    "temperature": st.floats(0, 2),
    "top_p": share,
    "top_k": st.integers(-1, 3000),
    "min_p": share,
    "repetition_penalty": st.floats(0.01, 100),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "logit_bias": st.dictionaries(tokens.map(str), st.floats(-100, 100), max_size=3),
    "stop": any_text | st.lists(any_text, max_size=17) | st.just("e" * 10_000),
    "seed": st.integers(-(2**63), 2**63),
    "stream": st.booleans(),
    "stream_options": st.just({"include_usage": True}),
    "model": st.just("phi3"),
    "user": any_text,
    "max_tokens": st.integers(1, 5),
}
COMPLETION = SAMPLING | {
    "prompt": prompts
    | st.lists(tokens, max_size=60)
    | st.lists(prompts | st.lists(tokens, max_size=5), max_size=4),
    "logprobs": st.integers(0, 20),
}
CHAT_COMPLETION = SAMPLING | {
    "messages": messages,
    "logprobs": st.booleans(),
    "top_logprobs": st.integers(0, 20),
    "max_completion_tokens": st.integers(1, 5),
}
GENERATE = {
    "max_length": st.integers(1, 60),
    "max_new_tokens": st.integers(1, 5),
    "min_length": st.integers(0, 60),
    "min_new_tokens": st.integers(0, 60),
    "do_sample": st.booleans(),
    "early_stopping": st.booleans() | st.just("never"),
    "num_beams": st.integers(1, 4),
    "temperature": st.floats(1e-4, 100),
    "top_k": st.integers(0, 3000),
    "top_p": share,
    "min_p": share,
    "typical_p": share,
    "repetition_penalty": st.floats(0.01, 100),
    "length_penalty": st.floats(-10, 10),
    "no_repeat_ngram_size": st.integers(0, 5),
    "encoder_no_repeat_ngram_size": st.integers(0, 5),
    "bad_words_ids": st.lists(st.lists(tokens, max_size=3), max_size=3),
    "num_return_sequences": st.integers(1, 4),
    "output_scores": st.booleans(),
    "return_dict_in_generate": st.booleans(),
    "pad_token_id": tokens,
    "eos_token_id": tokens | st.lists(tokens, max_size=3),
    "forced_bos_token_id": tokens,
    "forced_eos_token_id": tokens | st.lists(tokens, max_size=3),
    "remove_invalid_values": st.booleans(),
}


@st.composite
def bodies(
    draw: st.DrawFn, fields: dict[str, st.SearchStrategy[Any]], needed: str = ""
) -> dict[str, Any]:
    """Draw a body: some of the fields, now and then one of them wrong."""
    names = draw(st.sets(st.sampled_from(sorted(fields)), max_size=6))
    body = {name: draw(fields[name]) for name in sorted(names | {needed} - {""})}
    if draw(st.integers(0, 2)) == 0:
        wrong = draw(st.sampled_from(sorted(fields)) | any_text)
        body[wrong] = draw(any_json)
    return body


def chat_bodies() -> st.SearchStrategy[dict[str, Any]]:
    fields = {
        "messages": messages,
        "return_full_text": st.booleans(),
        "clean_up_tokenization_spaces": st.booleans(),
        "prefix": prompts,
        "handle_long_generation": st.just("hole"),
        "prompt": prompts,
        "generate_kwargs": bodies(GENERATE),
    }
    return bodies(fields, "generate_kwargs")


class InProcess:
    """The application without a port, on an event loop of its own."""

    def __init__(self, folder: Path, runner: asyncio.Runner) -> None:
        flags = parse_flags(
            [
                f"--pretrained_model_name_or_path={folder}",
                f"--max_model_len={CONTEXT}",
                f"--max_request_bytes={MAX_BYTES}",
            ]
        )
        started = start_engine(flags, Progress())
        self.lifecycle = Lifecycle()
        self.lifecycle.ready(
            started.engine, started.reader, started.defaults, started.adapters
        )
        self.engine: Any = started.engine
        # An exception that the application lets through is raised here.
        transport = httpx.ASGITransport(build_app(flags, self.lifecycle))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://a")
        self._runner = runner

    def post(self, path: str, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._runner.run(self._post(path, content))

    async def _post(self, path: str, content: bytes) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        async with asyncio.timeout(PATIENCE):
            return await self._client.post(path, content=content, headers=headers)


@pytest.fixture(scope="module")
def app(model_folder: Callable[[str], Path]) -> Iterator[InProcess]:
    with asyncio.Runner() as runner:
        app = InProcess(model_folder("phi3"), runner)
        yield app
        app.engine.close()
        app.engine.join(10)


def no_number(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=no_number)


def check(app: InProcess, reply: httpx.Response) -> None:
    """Check what holds for every reply, and that nothing of its request is left."""
    if reply.status_code == 200 and "event-stream" in reply.headers["Content-Type"]:
        *events, done, end = reply.text.split("\n\n")
        assert (done, end) == ("data: [DONE]", "")
        found = [strict(event.removeprefix("data: ")) for event in events]
        if "error" in found[-1]:
            assert found[-1]["error"]["type"] == "invalid_request_error"
        else:
            reasons = {
                choice["finish_reason"] for e in found for choice in e["choices"]
            }
            assert reasons & {"stop", "length"}
    elif reply.status_code == 200:
        answer = strict(reply.text)
        assert "Result" in answer or answer["choices"]
    else:
        error = strict(reply.text)["error"]
        assert reply.status_code in {400, 404, 413}, error
        assert not error["message"].startswith(": ")
        assert len(error["message"]) < 1000
    assert (app.engine.running, app.engine.waiting) == (0, 0)
    assert app.engine.failure is None
    assert app.lifecycle._in_flight == 0


@fuzz
@given(body=bodies(COMPLETION, "prompt"))
def test_a_completion_is_answered_or_refused(
    app: InProcess, body: dict[str, Any]
) -> None:
    check(app, app.post("/v1/completions", body))


@fuzz
@given(body=bodies(CHAT_COMPLETION, "messages"))
def test_a_chat_completion_is_answered_or_refused(
    app: InProcess, body: dict[str, Any]
) -> None:
    check(app, app.post("/v1/chat/completions", body))


@fuzz
@given(body=chat_bodies())
def test_a_chat_is_answered_or_refused(app: InProcess, body: dict[str, Any]) -> None:
    check(app, app.post("/chat", body))


@fuzz
@given(
    path=st.sampled_from(["/chat", "/v1/completions", "/v1/chat/completions"]),
    body=any_json | st.binary(max_size=200) | st.just(b" " * (MAX_BYTES + 1)),
)
def test_what_is_no_body_at_all_is_refused(
    app: InProcess, path: str, body: Any
) -> None:
    reply = app.post(path, body)
    check(app, reply)
    assert reply.status_code != 200


def live_requests() -> int:
    gc.collect()
    return sum(type(one) in {RunningGeneration, Run} for one in gc.get_objects())


def test_nothing_of_a_request_stays_behind(app: InProcess) -> None:
    def ask() -> None:
        for changes in ({}, {"stream": True}, {"n": 0}, {"max_tokens": 10**6}):
            body = {"prompt": "a", "max_tokens": 2} | changes
            check(app, app.post("/v1/completions", body))

    ask()
    # Each engine's thread still has the name of its latest.
    threads, requests = threading.active_count(), live_requests()
    for _ in range(5):
        ask()
    assert threading.active_count() <= threads
    assert live_requests() <= requests
