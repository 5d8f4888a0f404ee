import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

LONG = {"prompt": "a", "max_tokens": 4000, "temperature": 0, "stream": True}
LONG |= {"logit_bias": {"3": -100, "7": -100}}  # never an end token
SHORT = {"prompt": "a", "max_tokens": 2}


def metric(server: Any, line: str) -> float:
    for found in server.http.get("/metrics").text.splitlines():
        if found.startswith(f"{line} "):
            return float(found.split()[-1])
    return 0.0


def wait_for(server: Any, line: str, value: float) -> None:
    """Ask until a metric has a value; the test's timeout bounds it."""
    while metric(server, line) != value:
        pass


def cancel_running(server: Any) -> None:
    """End the request that is being generated."""
    running = [one for one in server.lifecycle.engine._open if one.started_at]
    running[0].cancel()


RUNNING = 'vllm:num_requests_running{model_name="phi3"}'
WAITING = 'vllm:num_requests_waiting{model_name="phi3"}'
ABORTED = 'vllm:request_success_total{finished_reason="abort",model_name="phi3"}'
REJECTED = 'kaito_ratelimit_rejected_total{model_name="phi3"}'


@pytest.fixture
def streams(server: Any) -> Iterator[Any]:
    """Open streams of a server, closed with the test."""
    with ExitStack() as stack:
        lines = []

        def start(
            of: Any = server, *, running: bool = False, **changes: Any
        ) -> httpx.Response:
            reply: httpx.Response = stack.enter_context(
                of.http.stream("POST", "/v1/completions", json=LONG | changes)
            )
            if running:
                # Kept: an iterator that is dropped closes its reply.
                lines.append(reply.iter_lines())
                next(lines[-1])
            return reply

        yield start


@pytest.mark.parametrize("path", ["/chat", "/v1/completions", "/v1/chat/completions"])
def test_malformed_json_is_refused_with_the_place_of_the_mistake(
    server: Any, path: str
) -> None:
    headers = {"Content-Type": "application/json"}
    reply = server.http.post(path, content=b'{"prompt": ', headers=headers)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["code"] == "invalid_json"
    assert "not JSON" in error["message"]
    assert "at character 11" in error["message"]


def test_a_body_that_is_no_object_is_refused(server: Any) -> None:
    reply = server.http.post("/chat", json=["a"])
    assert reply.status_code == 400
    assert "must be a JSON object" in reply.json()["error"]["message"]


def test_a_body_sent_as_a_form_is_told_the_right_content_type(server: Any) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = server.http.post("/chat", content='{"prompt": "a"}', headers=headers)
    assert reply.status_code == 400
    assert "sent as application/json" in reply.json()["error"]["message"]


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_the_limit_is_refused_whatever_it_says_of_its_length(
    start_server: Any, *, announced: bool
) -> None:
    server = start_server("--max_request_bytes=1024")
    body = b'{"prompt": "' + b"a" * 2000 + b'"}'
    content = body if announced else iter([body[:600], body[600:1200], body[1200:]])
    reply = server.http.post("/chat", content=content)
    assert reply.status_code == 413
    assert "must have 1024 at most" in reply.json()["error"]["message"]
    assert server.http.post("/v1/completions", json=SHORT).status_code == 200


def test_an_unknown_path_and_a_wrong_method_have_error_bodies_too(server: Any) -> None:
    for reply, status in [
        (server.http.get("/v1/nothing"), 404),
        (server.http.get("/chat"), 405),
    ]:
        assert reply.status_code == status
        assert reply.json()["error"]["message"]


def test_the_overflow_of_the_queue_is_told_to_come_back_and_the_rest_is_answered(
    start_server: Any, streams: Any
) -> None:
    server = start_server("--max_num_seqs=1", "--max_queue=2")
    streams(server, running=True)
    waiting = [streams(server, max_tokens=2) for _ in range(2)]
    for body in (SHORT, LONG):
        refused = server.http.post("/v1/completions", json=body)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert metric(server, REJECTED) == 2
    cancel_running(server)
    for reply in waiting:
        assert reply.read().endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("path", ["/chat", "/v1/completions", "/v1/chat/completions"])
def test_the_overflow_of_the_queue_does_not_wait_for_the_tokenizer(
    start_server: Any, streams: Any, path: str
) -> None:
    """Long prompts take it a while, and it reads one after the other."""
    server = start_server("--max_num_seqs=1", "--max_queue=0")
    streams(server, running=True)
    before = metric(server, REJECTED)
    busy = threading.Event()
    reading = server.lifecycle.reader._thread.submit(busy.wait, 60)
    field = "messages" if "/chat/" in path else "prompt"
    prompt = [{"role": "user", "content": "a"}] if field == "messages" else "a"
    refused = server.http.post(path, json={field: prompt})
    assert not reading.done()
    busy.set()
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert metric(server, REJECTED) == before + 1


def test_a_completion_whose_prompts_do_not_all_fit_the_queue_takes_no_place(
    start_server: Any, streams: Any
) -> None:
    server = start_server("--max_num_seqs=1", "--max_queue=2")
    streams(server, running=True)
    several = server.http.post("/v1/completions", json=SHORT | {"prompt": ["a"] * 3})
    assert several.status_code == 429
    assert metric(server, WAITING) == 0
    # Nor is it counted as begun and given up.
    assert metric(server, ABORTED) == 0


def test_more_prompts_than_there_are_places_are_refused_for_good(
    start_server: Any,
) -> None:
    """Told to come back, a client would do so for ever."""
    server = start_server("--max_num_seqs=1", "--max_queue=2")
    most = server.http.post("/v1/completions", json=SHORT | {"prompt": ["a"] * 3})
    assert most.status_code == 200
    more = server.http.post("/v1/completions", json=SHORT | {"prompt": ["a"] * 4})
    assert more.status_code == 400
    assert "found 4 prompts, this server takes 3" in more.json()["error"]["message"]


def test_requests_at_once_are_answered_as_far_as_there_are_places(
    start_server: Any, streams: Any
) -> None:
    server = start_server("--max_num_seqs=1", "--max_queue=3")
    streams(server, running=True)
    with ThreadPoolExecutor(12) as clients:
        replies = [
            clients.submit(server.http.post, "/v1/completions", json=SHORT)
            for _ in range(12)
        ]
        wait_for(server, REJECTED, 9)
        cancel_running(server)
        found = [reply.result() for reply in replies]
    assert sorted(reply.status_code for reply in found) == [200] * 3 + [429] * 9
    for reply in found:
        assert (reply.status_code == 429) == ("Retry-After" in reply.headers)
    assert server.http.post("/v1/completions", json=SHORT).status_code == 200


def test_a_client_that_hangs_up_stops_its_stream(server: Any) -> None:
    before = metric(server, ABORTED)
    with server.http.stream("POST", "/v1/completions", json=LONG) as reply:
        lines = reply.iter_lines()  # one that is dropped closes its reply
        next(lines)
        assert metric(server, RUNNING) == 1
    wait_for(server, RUNNING, 0)
    wait_for(server, ABORTED, before + 1)


@pytest.mark.parametrize("path", ["/chat", "/v1/completions"])
def test_a_client_that_hangs_up_stops_an_answer_it_waits_for(
    server: Any, path: str
) -> None:
    if path == "/chat":
        kwargs = {"max_new_tokens": 4000, "min_new_tokens": 4000}
        body: dict[str, Any] = {"prompt": "a", "generate_kwargs": kwargs}
    else:
        body = LONG | {"stream": False}
    client = httpx.Client(base_url=server.url, timeout=0.5)
    with pytest.raises(httpx.ReadTimeout):
        client.post(path, json=body)
    client.close()
    wait_for(server, RUNNING, 0)


def test_a_client_that_hangs_up_while_it_waits_leaves_the_queue(
    start_server: Any, streams: Any
) -> None:
    server = start_server("--max_num_seqs=1")
    streams(server, running=True)
    with server.http.stream("POST", "/v1/completions", json=LONG):
        wait_for(server, WAITING, 1)
    wait_for(server, WAITING, 0)
    assert metric(server, RUNNING) == 1


@pytest.mark.parametrize("path", ["/chat", "/v1/completions", "/v1/chat/completions"])
def test_a_client_that_hangs_up_while_its_prompt_waits_for_the_tokenizer_is_gone(
    server: Any, path: str
) -> None:
    busy = threading.Event()
    reading = server.lifecycle.reader._thread.submit(busy.wait, 60)
    messages = [{"role": "user", "content": "a"}]
    body = {"prompt": "a"} if path != "/v1/chat/completions" else {"messages": messages}
    client = httpx.Client(base_url=server.url, timeout=0.2)
    with pytest.raises(httpx.ReadTimeout):
        client.post(path, json=body)
    client.close()
    while server.lifecycle._in_flight and not reading.done():
        pass
    assert not reading.done()
    busy.set()


def test_a_request_that_takes_too_long_is_stopped_and_told_so(
    start_server: Any,
) -> None:
    server = start_server("--request_timeout=1")
    reply = server.http.post("/v1/completions", json=LONG | {"stream": False})
    assert reply.status_code == 504
    error = reply.json()["error"]
    assert error["code"] == "request_timeout"
    assert "longer than 1 seconds (--request_timeout)" in error["message"]
    wait_for(server, RUNNING, 0)


def test_a_stream_that_takes_too_long_ends_with_an_error_event(
    start_server: Any,
) -> None:
    server = start_server("--request_timeout=1")
    reply = server.http.post("/v1/completions", json=LONG)
    assert reply.status_code == 200
    *_, error, done, _ = reply.text.split("\n\n")
    assert "request_timeout" in error
    assert done == "data: [DONE]"


def test_a_connection_that_ends_in_the_middle_of_a_body_harms_nothing(
    server: Any,
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /chat HTTP/1.1\r\nHost: a\r\n")
        connection.sendall(b'Content-Length: 100\r\n\r\n{"prompt"')
    assert server.http.post("/v1/completions", json=SHORT).status_code == 200
