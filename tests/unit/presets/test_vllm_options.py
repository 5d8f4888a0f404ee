"""The options that a configuration may set are those of the vLLM that is served."""

import os
import subprocess

import pytest

from hack import paths
from pykaito.runtime.presets.vllm_options import known_options

FILE = paths.ROOT / "runtime" / "presets" / "vllm_options.yaml"


def test_the_options_are_those_of_the_locked_vllm() -> None:
    lock = (paths.ROOT / "uv.lock").read_text()
    assert f'name = "vllm"\nversion = "{known_options().version}"\n' in lock


def test_the_options_are_those_of_the_command_line() -> None:
    python = os.environ.get("VLLM_PYTHON")
    if python is None:
        pytest.skip("waits for VLLM_PYTHON, a Python that imports vLLM")
    script = paths.ROOT / "hack" / "vllm_options.py"
    done = subprocess.run(
        [python, script], capture_output=True, text=True, check=True, timeout=240
    )
    assert done.stdout == FILE.read_text()


def test_switches_and_values_are_apart() -> None:
    options = known_options()
    assert not options.switches & options.values
    assert {"max-model-len", "tensor-parallel-size"} <= options.values
    assert {"enforce-eager", "no-enforce-eager"} <= options.switches
