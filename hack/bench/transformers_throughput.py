"""Tokens per CPU-second of the transformers runtime, against ``transformers serve``.

The baselines are transformers' own server, as it starts and with its
``--continuous-batching``. All serve the same model of 52 M parameters in bfloat16
with one thread, and answer the same requests: about 55 tokens in, 64 out, streamed.
They take turns, and whoever waits is stopped. CPU-seconds of the server's process,
not time: what else the machine does, and the client, count less.
"""

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx

from hack.bench.bar_chart import bar_chart
from hack.bench.model_folder import make_model
from hack.bench.servers import (
    BATCHING,
    OURS,
    SERVE,
    Command,
    Server,
    ask,
    ask_many,
    client,
    ours,
    serve,
    started,
)
from hack.bench.traffic import Load

#: Requests at once, and how many of them are answered for one figure.
LOADS = {1: 8, 8: 16, 32: 64}
ANSWER_TOKENS = 64
PROMPT_WORDS = 32
#: Beside which short requests are timed: their prompts and answers are long.
LONG_REQUESTS = 4
LONG_WORDS = 600
LONG_ANSWER_TOKENS = 400
#: What the ratios must be at least: by baseline and requests at once.
WANTED = {(SERVE, 1): 0.95, (SERVE, 8): 4.0, (SERVE, 32): 7.0, (BATCHING, 32): 1.3}


def run(plot: Path | None = None) -> None:
    """Measure and print a table; draw it too, if told where."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = make_model(Path(folder) / "llama-small", "small")
        servers = [
            stack.enter_context(started(command, Path(folder)))
            for command in commands(model)
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


def commands(model: Path) -> list[Command]:
    """Return what starts the servers."""
    # By itself it takes most of the machine's memory.
    batching = ("--continuous-batching", "--cb-max-memory-percent", "0.1")
    return [
        replace(command, environment={"OMP_NUM_THREADS": "1"})
        for command in (
            ours(model),
            serve(model, "cpu"),
            serve(model, "cpu", *batching, name=BATCHING),
        )
    ]


def measure(servers: Sequence[Server]) -> dict[tuple[str, int], float]:
    """Return tokens per CPU-second by server and requests at once."""
    figures = {}
    for at_once, requests in LOADS.items():
        for server in servers:
            with server.awake():
                before = server.cpu_seconds()
                answered = asyncio.run(
                    short_ones(server, requests=requests, at_once=at_once)
                )
                used = server.cpu_seconds() - before
            tokens = sum(answer.tokens for answer in answered.answers)
            figures[server.name, at_once] = tokens / used
    return figures


def time_to_first_token(server: Server) -> float:
    """Return the 95th percentile in seconds, while long requests run."""

    async def beside_long_ones() -> Load:
        async with client(server) as http:
            tasks = [
                asyncio.create_task(_forever(http, -1 - number, server))
                for number in range(LONG_REQUESTS)
            ]
            try:
                return await short_ones(server, requests=LOADS[32], at_once=32)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    with server.awake():
        answers = asyncio.run(beside_long_ones()).answers
    return statistics.quantiles((one.first_token for one in answers), n=20)[-1]


async def short_ones(server: Server, *, requests: int, at_once: int) -> Load:
    """Send the requests that figures are about."""
    return await ask_many(
        server,
        requests=requests,
        at_once=at_once,
        words=PROMPT_WORDS,
        tokens=ANSWER_TOKENS,
    )


async def _forever(http: httpx.AsyncClient, seed: int, server: Server) -> None:
    while True:
        await ask(http, server, seed, LONG_WORDS, LONG_ANSWER_TOKENS)


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
