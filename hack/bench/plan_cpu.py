"""CPU of `pykaito plan`, against a process that imports what it must.

Whoever types it waits for imports: those of pydantic and PyYAML cannot be helped,
what is beyond them is ours. CPU, not time, so that a busy machine counts less.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from hack import paths

BASELINE = "a process that has imported pydantic and yaml"
ROUNDS = 20
LIMIT = 300
"""Milliseconds that a plan may take."""

_MODELS = "import pydantic, yaml; pydantic.BaseModel"


def run() -> None:
    """Measure and print one line."""
    example = paths.ROOT / "manifests" / "examples" / "falcon-7b.yaml"
    plan = [sys.executable, "-m", "pykaito.cli", "plan", "-f", str(example)]
    with tempfile.TemporaryDirectory() as bytecode:
        # As after an installation, which compiles what it installs.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        baseline, planned = cpu([[sys.executable, "-c", _MODELS], plan], environment)
    print(
        f"pykaito plan: {planned:.0f} ms of CPU, "
        f"{'within' if planned <= LIMIT else 'OVER'} the {LIMIT} ms that it may take, "
        f"{planned / baseline:.2f} times that of {BASELINE} ({baseline:.0f} ms)"
    )


def cpu(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str]
) -> list[float]:
    """Return the median CPU of each command in milliseconds.

    They take turns, so that what else the machine does counts for all alike, after a
    round that warms up.
    """
    rounds = [
        [_once(command, environment) for command in commands] for _ in range(ROUNDS + 1)
    ]
    return [statistics.median(taken) for taken in zip(*rounds[1:], strict=True)]


def _once(command: Sequence[str], environment: Mapping[str, str]) -> float:
    with subprocess.Popen(
        command, cwd=paths.ROOT, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        # Taken from under Popen, which is told what it would have found.
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return (used.ru_utime + used.ru_stime) * 1000
