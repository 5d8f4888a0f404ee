"""The benchmark of the operator's memory runs it by a command line that it takes."""

import subprocess
from pathlib import Path

from hack.bench.operator_memory import operator_command


def test_the_operator_takes_the_command_and_misses_but_the_cluster(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        operator_command(tmp_path / "none", 1),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert f"no kubeconfig at {tmp_path / 'none'}" in done.stderr + done.stdout
