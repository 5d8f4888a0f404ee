"""What is read without typer is read as typer reads it, and the rest is typer's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from pykaito.commands import plain
from pykaito.commands.app import app
from tests.unit.cli.command import pykaito, typed
from tests.unit.reconcilers.workspaces import raw_workspace

EXAMPLES = Path(__file__).parents[3] / "manifests" / "examples"
FALCON = str(EXAMPLES / "falcon-7b.yaml")
PHI = str(EXAMPLES / "phi-2-on-cpu.yaml")

every_command = pytest.mark.parametrize("command", plain.OPTIONS)


def parameters(command: str) -> dict[str, Any]:
    """Return typer's parameters of a command by name."""
    commands: Any = get_command(app)
    return {param.name: param for param in commands.commands[command].params}


@every_command
def test_every_plain_option_is_typers_option_of_the_same_parameter(
    command: str,
) -> None:
    known = parameters(command)
    for option, name in plain.OPTIONS[command].items():
        param = known[name]
        assert option in (param.opts if option else [""])
        assert (param.param_type_name == "argument") is not bool(option)
        assert not getattr(param, "is_flag", False)
        repeated = param.multiple or param.nargs == -1
        assert repeated is (name in {"filename", "files"})


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "-f", FALCON),
        ("plan", "--filename", FALCON, "-f", PHI),
        ("plan", "-o", "yaml", "-f", FALCON, "--nodes", "gpu-1", "-n", "here"),
        ("plan", "-f", FALCON, "-o", "yaml", "--output", "json"),
        ("plan", "-f", FALCON, "-n", "a", "--namespace", "b", "--nodes", ""),
        ("plan", "-f", FALCON, "--nodes", "a,b,,c"),
        ("plan", "-f", FALCON, "--transformers-image", "mirror.example/t:1"),
        ("plan", "-f", FALCON, "--provisioner", "karpenter"),
        ("plan", "-f", "/no/such.yaml"),
        ("plan", "-f", ""),
        ("plan", "-f", "-"),
        ("validate", FALCON),
        ("validate", PHI, "-f", FALCON, "/no/such.yaml", "-n", "x"),
        ("validate", "--namespace", "x", "-f", "-", "-"),
    ],
)
def test_what_is_plain_is_answered_as_through_typer(arguments: tuple[str, ...]) -> None:
    stdin = yaml.safe_dump(raw_workspace(inference={"preset": {"name": "zzz"}}))
    assert plain.read(arguments)
    done = pykaito(*arguments, stdin=stdin)
    assert done.output
    assert done == typed(*arguments, stdin=stdin)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "version",
        "status x",
        "plan",
        "plan --help",
        "plan -f",
        f"plan -f {FALCON} -h",
        f"plan -f{FALCON}",
        f"plan --filename={FALCON}",
        f"plan {FALCON}",
        f"plan -f {FALCON} --",
        f"plan -f {FALCON} -o",
        f"plan -f {FALCON} -o table",
        f"plan -f {FALCON} -o YAML",
        f"plan -f {FALCON} --nodes -n",
        f"plan -f {FALCON} --model-configs /",
        f"plan -f {FALCON} --no-such",
        "validate",
        "validate -n x",
        f"validate {FALCON} -o yaml",
        f"validate {FALCON} --model-configs /",
    ],
)
def test_all_else_is_left_to_typer(line: str) -> None:
    assert plain.read(line.split()) is None


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pykaito.cli", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
        **options,
    )


def test_a_process_answers_either_way() -> None:
    answered = process("plan", "-f", FALCON, stdout=subprocess.PIPE)
    assert (answered.returncode, answered.stderr) == (0, "")
    assert answered.stdout == pykaito("plan", "-f", FALCON).stdout
    refused = process("plan", stdout=subprocess.PIPE)
    assert refused.returncode == 2
    assert "Missing option" in refused.stderr


def test_an_interrupt_ends_the_command_without_a_traceback() -> None:
    code = (
        "from unittest.mock import Mock; from pykaito import cli\n"
        "cli.plain.run = Mock(side_effect=KeyboardInterrupt); cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", "-f", FALCON],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (130, b"")


def test_a_reader_that_is_gone_ends_the_command_without_a_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = process("plan", "-f", FALCON, stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
