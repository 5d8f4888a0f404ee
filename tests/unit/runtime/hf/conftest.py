"""Tiny models of the real architectures, and servers around them."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

# Before torch is imported: workers of a parallel run share few cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import httpx
import openai
import pytest
import uvicorn

from hack.models.architectures import ARCHITECTURES, SIZES
from hack.models.model import save_model
from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.app import build_app
from pykaito.runtime.hf.flags import Settings, parse_flags
from pykaito.runtime.hf.lifecycle import Lifecycle
from pykaito.runtime.hf.loading import LoadedModel, load_model
from pykaito.runtime.hf.lora_files import read_adapter
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.hf.server import listen
from pykaito.runtime.hf.start_engine import StartedEngine, start_engine

ROOT = Path(__file__).resolve().parents[4]

#: So that rounding does not decide which of two tokens is the likelier.
EXACT = "--torch_dtype=float32"

StartServer = Callable[..., "RunningServer"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a tiny model of an architecture, once per session."""
    corpus = [
        path.read_text() for path in sorted(Path(ROOT, "runtime/hf").glob("*.py"))
    ]
    folder = tmp_path_factory.mktemp("models")

    def make(architecture: str) -> Path:
        path = folder / architecture
        if not path.exists():
            save_model(
                path,
                architecture=ARCHITECTURES[architecture],
                size=SIZES["tiny"],
                corpus=corpus,
                seed=0,
            )
        return path

    return make


@pytest.fixture(scope="session")
def loaded_model(model_folder: Callable[[str], Path]) -> Callable[[str], LoadedModel]:
    """Load a tiny model in float32, once per session."""
    models: dict[str, LoadedModel] = {}

    def load(architecture: str) -> LoadedModel:
        if architecture not in models:
            path = str(model_folder(architecture))
            settings = parse_flags([f"--pretrained_model_name_or_path={path}", EXACT])
            models[architecture] = load_model(settings, Progress())
        return models[architecture]

    return load


class RunningServer:
    """The application behind a real port, on a thread of its own."""

    def __init__(self, settings: Settings, started: StartedEngine | None) -> None:
        self.settings = settings
        self.lifecycle = Lifecycle()
        if started is not None:
            self.become_ready(started)
        listener = listen(replace(settings, host="127.0.0.1", port=0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            build_app(settings, self.lifecycle),
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve(sockets=[listener]))
        )
        self._thread.start()
        self.http = httpx.Client(base_url=self.url, timeout=60)
        self.openai = openai.OpenAI(
            base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60
        )

    def become_ready(self, started: StartedEngine) -> None:
        self.lifecycle.ready(
            started.engine, started.reader, started.defaults, started.adapters
        )

    def stop(self) -> None:
        self.openai.close()
        self.http.close()
        if self.lifecycle.engine is not None:
            self.lifecycle.engine.close()
        self._server.should_exit = True
        self._thread.join(timeout=10)


@pytest.fixture(scope="module")
def start_server(model_folder: Callable[[str], Path]) -> Iterator[StartServer]:
    """Start a server with flags of one's own; all end with the module."""
    servers: list[RunningServer] = []

    def start(
        *flags: str, architecture: str = "phi3", adapters: Sequence[Adapter] = ()
    ) -> RunningServer:
        path = model_folder(architecture)
        found = [f"--pretrained_model_name_or_path={path}", EXACT, *flags]
        settings = parse_flags(found)
        files = [read_adapter(adapter) for adapter in adapters]
        started = start_engine(settings, Progress(), files)
        servers.append(RunningServer(settings, started))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> RunningServer:
    """Start a server of a tiny Phi-3 with everything at its default."""
    return start_server()
