"""`plan` and `validate` as they are mostly typed, read without typer.

typer takes longer to load than either takes to answer. What is plain is a command
and its options, each of which is one word and takes any text as the next. The rest is
typer's: help, completion, other options, other ways to write these, and mistakes.
"""
# ruff: noqa: PLC0415 - what is for typer runs neither

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pykaito.commands.defaults import (
    NAMESPACE,
    PROVISIONER,
    TRANSFORMERS_IMAGE,
    VLLM_IMAGE,
)
from pykaito.commands.formats import Structured

STDIN = "-"

_PLACE = {"-n": "namespace", "--namespace": "namespace"}
_FILES = {"-f": "filename", "--filename": "filename"}

#: By command, the parameter of each option; the empty one is of what is no option.
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "plan": {
        **_FILES,
        **_PLACE,
        "--nodes": "nodes",
        "--provisioner": "provisioner",
        "--vllm-image": "vllm_image",
        "--transformers-image": "transformers_image",
        "-o": "output",
        "--output": "output",
    },
    "validate": {"": "files", **_FILES, **_PLACE},
}

Texts = Mapping[str, Sequence[str]]


class Call(NamedTuple):
    """A command and what it is given, by parameter."""

    command: str
    given: Texts

    @property
    def paths(self) -> list[str]:
        """Return the files to read, those of options first."""
        return [*self.given.get("filename", ()), *self.given.get("files", ())]

    def last(self, parameter: str, default: str = "") -> str:
        """Return what counts of a parameter: of several texts the last."""
        return self.given.get(parameter, (default,))[-1]


def read(words: Sequence[str]) -> Call | None:
    """Return what is to be run, None if that is for typer to say."""
    command, *rest = words or ("",)
    given = _texts(rest, OPTIONS.get(command, {}))
    if given is None or not (call := Call(command, given)).paths:
        return None
    return call if {*given.get("output", ())} <= {*Structured} else None


def _texts(words: Iterable[str], options: Mapping[str, str]) -> Texts | None:
    given: dict[str, list[str]] = {}
    remaining = iter(words)
    for word in remaining:
        option = word if _is_option(word) else ""
        text = next(remaining, None) if option else word
        if option not in options or text is None or _is_option(text):
            return None
        given.setdefault(options[option], []).append(text)
    return given


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != STDIN


def run(call: Call) -> None:
    """Run a command, as typer would."""
    if call.command == "plan":
        from pykaito.commands import plan
        from pykaito.runtime.presets.runtimes import DEFAULT_RUNTIME

        request = plan.Request(
            namespace=call.last("namespace", NAMESPACE),
            nodes=call.last("nodes"),
            provisioner=call.last("provisioner", PROVISIONER),
            images={
                "vllm": call.last("vllm_image", VLLM_IMAGE),
                "transformers": call.last("transformers_image", TRANSFORMERS_IMAGE),
            },
            default_runtime=DEFAULT_RUNTIME,
        )
        form = call.last("output")
        plan.show(call.paths, request, Structured(form) if form else None)
    else:
        from pykaito.commands import validate

        validate.show(call.paths, call.last("namespace", NAMESPACE))
