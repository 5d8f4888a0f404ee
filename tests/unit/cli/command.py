"""Running the command line in a test."""

import sys
from collections.abc import Callable
from typing import NamedTuple

from typer.main import get_command
from typer.testing import CliRunner

from pykaito.commands import plain
from pykaito.commands.app import app


class Done(NamedTuple):
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str
    #: Both, as they were written.
    output: str


def pykaito(*arguments: str, stdin: str | None = None) -> Done:
    """Run ``pykaito`` with the arguments, read as in a process of its own."""
    if call := plain.read(arguments):
        return _done(lambda: plain.run(call), stdin)
    return typed(*arguments, stdin=stdin)


def typed(*arguments: str, stdin: str | None = None) -> Done:
    """Run ``pykaito`` with the arguments, read by typer."""
    command = get_command(app)
    return _done(lambda: command.main(arguments, prog_name="pykaito"), stdin)


def _done(run: Callable[[], None], stdin: str | None) -> Done:
    exit_code = 0
    with CliRunner().isolation(stdin) as streams:
        try:
            run()
        except SystemExit as ended:
            exit_code = int(ended.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        return Done(exit_code, *(stream.getvalue().decode() for stream in streams))
