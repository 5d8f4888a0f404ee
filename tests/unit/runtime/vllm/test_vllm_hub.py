"""A hub that is away keeps no model from starting that is here already."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pykaito.runtime.vllm.hub import is_kept, is_silent

MODEL = "org/name"


@pytest.fixture
def hub() -> Iterator[tuple[str, list[int]]]:
    """Yield the address of a hub, and what it answers with."""
    status = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status[0] if MODEL in self.path else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", status
        server.shutdown()


@pytest.mark.parametrize("status", [200, 401, 403, 404, 405, 429])
def test_a_hub_that_says_anything_of_the_model_is_there(
    hub: tuple[str, list[int]], status: int
) -> None:
    endpoint, answers = hub
    answers[0] = status
    assert not is_silent(MODEL, {"HF_ENDPOINT": endpoint})


def test_a_hub_that_is_broken_is_away(hub: tuple[str, list[int]]) -> None:
    endpoint, answers = hub
    answers[0] = 503
    assert is_silent(MODEL, {"HF_ENDPOINT": endpoint})


def test_a_hub_where_nobody_listens_is_away() -> None:
    assert is_silent(MODEL, {"HF_ENDPOINT": "http://127.0.0.1:9"})


@pytest.mark.parametrize(
    "environ", [{"HF_HOME": "{0}"}, {"HF_HOME": "/none", "HF_HUB_CACHE": "{0}/hub"}]
)
def test_a_model_is_kept_where_the_libraries_keep_it(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    told = {name: value.format(tmp_path) for name, value in environ.items()}
    assert not is_kept(MODEL, told)
    (tmp_path / "hub" / "models--org--name" / "snapshots").mkdir(parents=True)
    assert is_kept(MODEL, told)
    assert not is_kept("org/other", told)


def test_a_folder_is_of_no_hub(tmp_path: Path) -> None:
    assert not is_kept(str(tmp_path), {"HF_HOME": str(tmp_path)})
