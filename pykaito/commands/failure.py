"""How a command ends when it cannot do what it was asked."""

import sys
from typing import NoReturn

FAILED = 1


def fail(*messages: str) -> NoReturn:
    """Print each message as one line on standard error, and exit with 1."""
    for message in messages:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - a command's output
    sys.exit(FAILED)
