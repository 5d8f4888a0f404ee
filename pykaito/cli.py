"""The entry point of the command line."""
# ruff: noqa: PLC0415 - typer takes longer to load than a plan to make

import gc
import os
import sys

from pykaito.commands import plain


def main() -> None:
    """Run the command of this process."""
    if call := plain.read(sys.argv[1:]):
        _answer(call)
    else:
        from pykaito.commands.app import app

        app()


def _answer(call: plain.Call) -> None:
    """Run a command that ends as soon as it has answered, and end as typer does."""
    # Looking for garbage, here and when Python ends, takes more time than it saves.
    gc.disable()
    # pydantic would read what every installed distribution offers, for its plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        plain.run(call)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # What is left cannot be written; Python would try to when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
