"""Running the command line in a test."""

from typer.testing import CliRunner, Result

from pykaito.cli import main


def pykaito(*arguments: str, stdin: str | None = None) -> Result:
    """Run ``pykaito`` with the arguments and return what it printed."""
    return CliRunner().invoke(main, arguments, input=stdin)
