"""Tokens per CPU-second of the transformers runtime, against ``transformers serve``.

The baselines are transformers' own server, as it starts and with its
``--continuous-batching``. All serve the same model of 52 M parameters in bfloat16
with one thread, and answer the same requests: about 55 tokens in, 64 out, streamed.
They take turns, and whoever waits is stopped. CPU-seconds of the server's process,
not time: what else the machine does, and the client, count less.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hack import paths
from hack.bench.bar_chart import bar_chart

OURS = "pykaito"
SERVE = "transformers serve"
BATCHING = "transformers serve --continuous-batching"

#: Requests at once, and how many of them are answered for one figure.
LOADS = {1: 8, 8: 16, 32: 64}
ANSWER_TOKENS = 64
PROMPT_WORDS = 32
#: Beside which short requests are timed: their prompts and answers are long.
LONG_REQUESTS = 4
LONG_WORDS = 600
LONG_ANSWER_TOKENS = 400
READY_SECONDS = 120
#: What the ratios must be at least: by baseline and requests at once.
WANTED = {(SERVE, 1): 0.95, (SERVE, 8): 4.0, (SERVE, 32): 7.0, (BATCHING, 32): 1.3}


@dataclass(frozen=True, slots=True)
class Server:
    """A model server that is ready."""

    name: str
    url: str
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


def run(plot: Path | None = None) -> None:
    """Measure and print a table; draw it too, if told where."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = make_model(Path(folder) / "llama-small")
        servers = [
            stack.enter_context(started(name, model, Path(folder)))
            for name in (OURS, SERVE, BATCHING)
        ]
        figures = measure(servers)
        first_token = {
            server.name: time_to_first_token(server)
            for server in servers
            if server.name != SERVE
        }
    print_table(figures)
    if plot is not None:
        plot.write_text(draw(figures))
    for name, seconds in first_token.items():
        print(
            f"time to first token, p95, 32 requests at once beside {LONG_REQUESTS} "
            f"long ones: {seconds:.2f} s ({name})"
        )


def make_model(folder: Path) -> Path:
    """Write the model; no token of its ends an answer."""
    command = [sys.executable, "-m", "hack.models", "--out", str(folder)]
    command += ["--architecture", "llama", "--size", "small"]
    subprocess.run(command, cwd=paths.ROOT, check=True, stdout=subprocess.DEVNULL)
    for name in ("config.json", "generation_config.json"):
        file = folder / name
        fields = json.loads(file.read_text())
        file.write_text(json.dumps(fields | {"eos_token_id": None}))
    return folder


def command_of(name: str, model: Path, port: int) -> list[str]:
    """Return what starts a server."""
    if name == OURS:
        command = [sys.executable, "-m", "pykaito.runtime.hf", "--host=127.0.0.1"]
        return [*command, f"--port={port}", f"--pretrained_model_name_or_path={model}"]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model)]
    command += ["--port", str(port), "--device", "cpu", "--log-level", "error"]
    if name == BATCHING:
        # By itself it takes most of the machine's memory.
        command += ["--continuous-batching", "--cb-max-memory-percent", "0.1"]
    return command


@contextmanager
def started(name: str, model: Path, folder: Path) -> Iterator[Server]:
    """Start a server, wait until it has answered, and stop it (SIGSTOP)."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    log = folder / f"{name.replace(' ', '-')}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command_of(name, model, port),
            cwd=paths.ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        server = Server(name, f"http://127.0.0.1:{port}", process)
        try:
            wait_until_ready(server, log)
            asyncio.run(load(server, requests=4, at_once=2))
            process.send_signal(signal.SIGSTOP)
            yield server
        finally:
            process.kill()


def wait_until_ready(server: Server, log: Path) -> None:
    """Poll the server's health.

    Raises:
        RuntimeError: it ended or took too long; the message holds its log.
    """
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx.get(f"{server.url}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline or server.process.poll() is not None:
            raise RuntimeError(f"{server.name} is not ready:\n{log.read_text()}")
        time.sleep(0.2)


def measure(servers: Sequence[Server]) -> dict[tuple[str, int], float]:
    """Return tokens per CPU-second by server and requests at once."""
    figures = {}
    for at_once, requests in LOADS.items():
        for server in servers:
            with server.awake():
                before = server.cpu_seconds()
                answers = asyncio.run(load(server, requests=requests, at_once=at_once))
                used = server.cpu_seconds() - before
            tokens = sum(answer.tokens for answer in answers)
            figures[server.name, at_once] = tokens / used
    return figures


def time_to_first_token(server: Server) -> float:
    """Return the 95th percentile in seconds, while long requests run."""

    async def beside_long_ones() -> list["Answer"]:
        async with client(server) as http:
            tasks = [
                asyncio.create_task(_forever(http, seed, server))
                for seed in range(LONG_REQUESTS)
            ]
            try:
                return await load(server, requests=LOADS[32], at_once=32)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    with server.awake():
        answers = asyncio.run(beside_long_ones())
    return statistics.quantiles((one.first_token for one in answers), n=20)[-1]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client saw of one request: seconds to the first token, tokens."""

    first_token: float
    tokens: int


def client(server: Server) -> httpx.AsyncClient:
    """Return a client that waits as long as it takes."""
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=server.url, timeout=600, limits=limits)


async def load(server: Server, *, requests: int, at_once: int) -> list[Answer]:
    """Send requests, so many at once, each with a prompt of its own."""
    seeds = iter(range(requests))

    async def one_client(http: httpx.AsyncClient) -> list[Answer]:
        return [
            await ask(http, server, seed, PROMPT_WORDS, ANSWER_TOKENS) for seed in seeds
        ]

    async with client(server) as http:
        found = await asyncio.gather(*(one_client(http) for _ in range(at_once)))
    return [answer for answers in found for answer in answers]


async def _forever(http: httpx.AsyncClient, seed: int, server: Server) -> None:
    while True:
        await ask(http, server, -1 - seed, LONG_WORDS, LONG_ANSWER_TOKENS)


async def ask(
    http: httpx.AsyncClient, server: Server, seed: int, words: int, tokens: int
) -> Answer:
    """Stream one answer.

    Raises:
        RuntimeError: it is not the answer that was asked for.
    """
    body: dict[str, Any] = {
        "model": "llama-small" if server.name == OURS else None,
        "messages": [{"role": "user", "content": prompt(seed, words)}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
    }
    if server.name == OURS:
        body["stream_options"] = {"include_usage": True}
    begun, first, used = time.monotonic(), None, None
    async for event in events(http, body):
        choices = event.get("choices") or [{}]
        if first is None and choices[0].get("delta", {}).get("content"):
            first = time.monotonic() - begun
        used = event.get("usage") or used
    if first is None or used is None or used["completion_tokens"] != tokens:
        raise RuntimeError(f"{server.name}: asked for {tokens} tokens, found {used}")
    return Answer(first, tokens)


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


def prompt(seed: int, words: int) -> str:
    """Return words in an order that no other prompt begins with."""
    listed = sorted(set((paths.ROOT / "CONTRIBUTING.md").read_text().split()))
    return " ".join(random.Random(seed).choices(listed, k=words))  # noqa: S311 - no secret


def print_table(figures: Mapping[tuple[str, int], float]) -> None:
    """Print figures by server, then ours as ratios."""
    print("transformers runtime, tokens per CPU-second:", flush=True)
    print(f"{'requests at once':45}" + "".join(f"{at_once:>8}" for at_once in LOADS))
    for name in (OURS, SERVE, BATCHING):
        row = (f"{figures[name, at_once]:8.0f}" for at_once in LOADS)
        print(f"{name:45}" + "".join(row))
    for name in (SERVE, BATCHING):
        cells = []
        for at_once in LOADS:
            ratio = figures[OURS, at_once] / figures[name, at_once]
            short = ratio < WANTED.get((name, at_once), 0)
            cells.append(f"{ratio:7.2f}{'!' if short else ' '}")
        print(f"{OURS + ' against ' + name:45.45}" + "".join(cells))
    print("an exclamation mark: less than it must be")


def draw(figures: Mapping[tuple[str, int], float]) -> str:
    """Return the table as a chart."""
    return bar_chart(
        "Tokens per CPU-second, by requests at once",
        [str(at_once) for at_once in LOADS],
        {
            name: [figures[name, at_once] for at_once in LOADS]
            for name in (OURS, SERVE, BATCHING)
        },
    )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m hack.bench.transformers_throughput"
    )
    parser.add_argument("--plot", type=Path, help="SVG file to draw the table in")
    run(parser.parse_args().plot)


if __name__ == "__main__":
    main()
