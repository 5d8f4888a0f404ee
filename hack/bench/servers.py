"""Model servers as their users start them, and requests to them over HTTP."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from hack import paths
from hack.bench.traffic import Answer, Clock, Load, load, prompt

OURS = "pykaito"
SERVE = "transformers serve"
BATCHING = "transformers serve --continuous-batching"
VLLM = "vLLM"

READY_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Command:
    """What starts a server, less its port.

    Attributes:
        name: The server's, in tables.
        words: The command.
        environment: What is set beside this process's variables.
        body: What each request to it has beside what all have.
        ready_seconds: Within which it has to be ready.
    """

    name: str
    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    ready_seconds: float = READY_SECONDS


@dataclass(frozen=True, slots=True)
class Server:
    """A model server that is ready."""

    name: str
    url: str
    body: Mapping[str, Any]
    process: "subprocess.Popen[bytes]"

    def cpu_seconds(self) -> float:
        """Return what its process has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2]
        used = sum(map(int, fields.split()[11:13]))
        return used / os.sysconf("SC_CLK_TCK")

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run while the block does."""
        self.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGSTOP)


def ours(model: Path, *flags: str) -> Command:
    """Return the command of the transformers runtime."""
    words = [sys.executable, "-m", "pykaito.runtime.hf", "--host=127.0.0.1"]
    words += [f"--pretrained_model_name_or_path={model}", *flags]
    return Command(OURS, words, body=_named(model))


def serve(model: Path, device: str, *flags: str, name: str = SERVE) -> Command:
    """Return the command of transformers' own server."""
    words = [str(Path(sys.executable).with_name("transformers")), "serve", str(model)]
    words += ["--device", device, "--log-level", "error", *flags]
    return Command(name, words, body={"model": None})


def vllm(model: Path, python: str, *flags: str) -> Command:
    """Return the command of the vLLM runtime, in a Python that has vLLM."""
    words = [python, "-m", "pykaito.runtime.vllm", "--host=127.0.0.1"]
    words += [f"--model={model}", f"--served-model-name={model.name}", *flags]
    return Command(
        VLLM,
        words,
        environment={"PYTHONPATH": str(paths.ROOT)},
        # By itself it ends at the tokenizer's end.
        body={**_named(model), "ignore_eos": True},
        # It compiles the model first.
        ready_seconds=5 * READY_SECONDS,
    )


def _named(model: Path) -> dict[str, Any]:
    return {"model": model.name, "stream_options": {"include_usage": True}}


@contextmanager
def started(command: Command, folder: Path) -> Iterator[Server]:
    """Start a server, wait until it has answered, and stop it (SIGSTOP).

    Args:
        command: What starts it.
        folder: For its log.

    Raises:
        RuntimeError: It ended or took too long; the message holds its log.
    """
    log = folder / f"{command.name.replace(' ', '-')}.log"
    with (
        free_port() as port,
        log.open("wb") as output,
        subprocess.Popen(
            [*command.words, "--port", str(port)],
            cwd=paths.ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **command.environment},
            stdout=output,
            stderr=output,
            # Its own group, since a server may have processes of its own.
            start_new_session=True,
        ) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        server = Server(command.name, url, command.body, process)
        try:
            wait_until_ready(server, log, command.ready_seconds)
            asyncio.run(ask_many(server, requests=4, at_once=2, words=32, tokens=64))
            process.send_signal(signal.SIGSTOP)
            yield server
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def free_port() -> Iterator[int]:
    """Keep a port that a server may listen on, and that nobody else is given."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


def wait_until_ready(server: Server, log: Path, seconds: float) -> None:
    """Poll the server's health.

    Raises:
        RuntimeError: it ended or took too long; the message holds its log.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(f"{server.url}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline or server.process.poll() is not None:
            raise RuntimeError(f"{server.name} is not ready:\n{log.read_text()}")
        time.sleep(0.2)


def client(server: Server) -> httpx.AsyncClient:
    """Return a client that waits as long as it takes."""
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=server.url, timeout=600, limits=limits)


async def ask_many(
    server: Server,
    *,
    requests: int,
    at_once: int,
    words: int,
    tokens: int,
    limit: float | None = None,
) -> Load:
    """Send requests, each with a prompt of its own; see `load`."""
    async with client(server) as http:
        return await load(
            lambda seed: ask(http, server, seed, words, tokens),
            requests=requests,
            at_once=at_once,
            limit=limit,
        )


async def ask(
    http: httpx.AsyncClient, server: Server, seed: int, words: int, tokens: int
) -> Answer:
    """Stream one answer.

    Raises:
        RuntimeError: it is not the answer that was asked for.
    """
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": prompt(seed, words)}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        **server.body,
    }
    clock, used = Clock(), None
    async for event in events(http, body):
        choices = event.get("choices") or [{}]
        if choices[0].get("delta", {}).get("content"):
            clock.tick()
        used = event.get("usage") or used
    if used is None or used["completion_tokens"] != tokens:
        raise RuntimeError(f"{server.name}: asked for {tokens} tokens, found {used}")
    return clock.answer(prompt_tokens=used["prompt_tokens"], tokens=tokens)


async def events(
    http: httpx.AsyncClient, body: Mapping[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """Give each event of a streamed reply."""
    async with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        if reply.is_error:
            raise RuntimeError((await reply.aread()).decode())
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))
