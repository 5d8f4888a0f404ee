"""Each endpoint is asked what its description allows and forbids.

schemathesis makes the requests, in a process of its own, so that the memory of this
one is the server's. Short in `make test`; SOAK_FACTOR multiplies the examples.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.models.architectures import ARCHITECTURES, Size
from hack.models.model import save_model
from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.generation import RunningGeneration
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.hf.service import Run
from pykaito.runtime.hf.start_engine import start_engine
from tests.schemathesis_run import ask

from .conftest import RunningServer

FACTOR = int(os.environ.get("SOAK_FACTOR", "1"))
EXAMPLES = 20 * FACTOR

#: What the server's process may grow by once each kind of request has been seen: no
#: Python object stays, but tensors of new shapes take new places in the allocator's
#: arenas. Of 450 requests each that was 23, 11, 6, 0.3 and 0.2 MiB.
GROWTH = 64 * 2**20

#: Knows tools in a few tokens: the context is a short one.
TEMPLATE = """{{ "!" if tools else "" }}
{%- for message in messages -%}{{ message.content }}
{%- for call in message.tool_calls or [] -%}
{%- set function = call.function -%}
{"name": "{{ function.name }}", "parameters": {{ function.arguments | tojson }}}
{%- endfor -%}{%- endfor -%}"""

#: A schema cannot say how long a prompt may be in tokens, or which fields go together.
ACCEPTANCE = ("--exclude-checks", "positive_data_acceptance")

POSTS = ("/chat", "/v1/completions", "/v1/chat/completions")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose answers are quick to make, since there are a thousand."""
    folder = tmp_path_factory.mktemp("model")
    save_model(
        folder,
        architecture=ARCHITECTURES["phi3"],
        size=Size(layers=1, heads=1, vocabulary=512),
        corpus=[Path(__file__).read_text()],
        seed=0,
    )
    template = folder / "template.jinja"
    template.write_text(TEMPLATE)
    settings = parse_flags(
        [
            f"--chat_template={template}",
            f"--pretrained_model_name_or_path={folder}",
            "--max_model_len=40",
            "--max_request_bytes=20000",
        ]
    )
    server = RunningServer(settings, start_engine(settings, Progress()))
    yield server
    server.stop()


@pytest.fixture
def loading() -> Iterator[RunningServer]:
    server = RunningServer(parse_flags([]), started=None)
    yield server
    server.stop()


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Forbid what is not described in replies; clients may expect more to come."""
    components = schema["components"]["schemas"]
    for described in components.values():
        if described.get("type") == "object":
            described.setdefault("additionalProperties", False)
    # Messages may have fields that this runtime does not know.
    for name in ("Message", "EarlierCall", "EarlierFunction"):
        del components[name]["additionalProperties"]
    # A text that is JSON is found by no chance.
    components["EarlierFunction"]["properties"]["arguments"]["enum"] = ["{}"]
    return schema


def described(server: RunningServer) -> dict[str, Any]:
    return strict(server.http.get("/openapi.json").json())


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def live_requests() -> int:
    return sum(type(one) in {RunningGeneration, Run} for one in gc.get_objects())


@pytest.mark.timeout(300 * FACTOR)
def test_every_reply_is_as_described_and_leaves_nothing_behind(
    small: RunningServer, tmp_path: Path
) -> None:
    # Each limit of each field, on it and beyond it: over a thousand requests.
    coverage = ("--phases=coverage", *ACCEPTANCE)
    found = ask(described(small), small.url, tmp_path, *coverage)
    for path in POSTS:
        assert found[f"POST {path} 200"] >= 10
        assert found[f"POST {path} 400"] >= 10
    before = resident()
    fuzzing = ("--phases=fuzzing", f"--max-examples={EXAMPLES}", *ACCEPTANCE)
    found = ask(described(small), small.url, tmp_path, *fuzzing, seconds=200 * FACTOR)
    assert found.total() > EXAMPLES
    assert resident() - before < GROWTH
    engine: Any = small.lifecycle.engine
    assert (engine.running, engine.waiting, engine.failure) == (0, 0, None)
    assert small.lifecycle._in_flight == 0
    assert live_requests() == 0


def test_a_server_that_loads_answers_as_described(
    loading: RunningServer, tmp_path: Path
) -> None:
    # All but those that want a 200.
    found = ask(
        described(loading),
        loading.url,
        tmp_path,
        *("--phases=fuzzing", "--max-examples=3", "--mode=positive", "--warnings=off"),
        "--checks=status_code_conformance,content_type_conformance,"
        "response_headers_conformance,response_schema_conformance,"
        "every_reply_is_counted",
    )
    for path in POSTS:
        assert found[f"POST {path} 503"]
    assert found["GET /v1/models 503"]
    assert found["GET /health 503"]
    assert found["GET /metrics 200"]
