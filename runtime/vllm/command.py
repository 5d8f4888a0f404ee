"""vLLM's command line, of what the pod's command, files and adapters say: pure."""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pykaito.runtime.vllm.adapter_start import Start
from pykaito.runtime.vllm.adapters import smallest_rank

LENGTH = "max-model-len"

#: Of vLLM's flags those that differ from its own defaults where none is given.
DEFAULTS = {
    "model": "/workspace/weights",
    "port": "5000",
    "disable-access-log-for-endpoints": "/health,/health/active,/metrics",
}
#: Stand before vLLM's own answers; the outermost comes last.
HAND_OVER = "pykaito.runtime.vllm.middleware.HandOver"
RATE_LIMIT = "pykaito.runtime.vllm.middleware.RateLimit"
ACTIVE_HEALTH = "pykaito.runtime.vllm.middleware.ActiveHealth"
DESCRIPTION = "pykaito.runtime.vllm.middleware.Description"
CLOSED = "pykaito.runtime.vllm.middleware.Closed"
FAILURES = "pykaito.runtime.vllm.middleware.Failures"
ADAPTER_UPDATES = "pykaito.runtime.vllm.adapter_updates.AdapterUpdates"

#: Options that vLLM had once and KAITO's own template still sets.
RETIRED = frozenset({"swap-space"})


@dataclass(frozen=True, slots=True)
class Syntax:
    """What the command line of the installed vLLM takes."""

    #: Options that stand alone, by their names without dashes before them.
    switches: frozenset[str]
    #: Options that take several words.
    lists: frozenset[str]
    #: Ranks that adapters may have.
    ranks: tuple[int, ...]

    @classmethod
    def of(cls, parser: argparse.ArgumentParser) -> Self:
        """Return what a parser takes."""
        actions = parser._actions  # noqa: SLF001 - argparse has no other list of its options
        names = {
            name.removeprefix("--"): action
            for action in actions
            for name in action.option_strings
            if name.startswith("--")
        }
        return cls(
            frozenset(name for name, action in names.items() if action.nargs == 0),
            frozenset(name for name, action in names.items() if action.nargs == "+"),
            tuple(names["max-lora-rank"].choices or ()),
        )


def command_line(
    given: Sequence[str],
    options: Mapping[str, Any],
    adapters: Start,
    syntax: Syntax,
    *,
    limited: bool,
) -> list[str]:
    """Return vLLM's arguments. Of an option that is there twice the last counts.

    Args:
        given: vLLM's flags of the pod's command.
        options: those of the user's file, which go before the flags.
        adapters: those to serve, and those to have room for.
        syntax: what vLLM takes.
        limited: whether requests beyond what may wait are refused.

    Raises:
        LoadError: an adapter has a rank that vLLM does not serve.
    """
    names = {_name(word) for word in given if word.startswith("--")}
    limits = [RATE_LIMIT] if limited else []
    middleware = [HAND_OVER, DESCRIPTION, *limits, ACTIVE_HEALTH, CLOSED]
    if adapters.follows:
        middleware.append(ADAPTER_UPDATES)
    # The last is the outermost.
    middleware.append(FAILURES)
    return [
        *(f"--{k}={v}" for k, v in DEFAULTS.items() if k not in names),
        *given,
        *_of_adapters(adapters, syntax.ranks),
        *(f"--middleware={name}" for name in middleware),
        *_of_options(options, syntax, cut=_is_cut(given)),
    ]


def value_of(
    option: str, given: Sequence[str], options: Mapping[str, Any]
) -> str | None:
    """Return what vLLM will take an option to be; None where nothing is said.

    Args:
        option: its name without dashes before it.
        given: vLLM's flags of the pod's command.
        options: those of the user's file.
    """
    for written, value in options.items():
        if _name(written) == option and value is not None:
            return _text(value)
    found = DEFAULTS.get(option)
    for word, following in zip(given, [*given[1:], ""], strict=True):
        if word.startswith("--") and _name(word) == option:
            _, equals, value = word.partition("=")
            found = value if equals else following
    return found


def without(option: str, given: Sequence[str]) -> list[str]:
    """Return the flags but for one option, whether its value is a word of its own."""
    left, skipped = [], False
    for word in given:
        if word.startswith("--"):
            skipped = _name(word) == option
        if not skipped:
            left.append(word)
    return left


def names_of(given: Sequence[str], options: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of all options that are set."""
    flags = (word for word in given if word.startswith("--"))
    return frozenset(map(_name, [*flags, *options]))


def _of_adapters(adapters: Start, ranks: Sequence[int]) -> Iterator[str]:
    unlisted = [lora for lora in adapters.unlisted if lora.rank <= max(ranks)]
    brought = [*adapters.loras, *unlisted]
    if not brought:
        return
    # One to spare: while an adapter changes, old and new are there.
    slots = len(brought) + adapters.follows
    yield from ("--enable-lora", f"--max-loras={slots}")
    yield f"--max-lora-rank={smallest_rank(brought, ranks)}"
    if adapters.loras:
        yield "--lora-modules"
        yield from (f"{lora.name}={lora.folder}" for lora in adapters.loras)


def _of_options(
    options: Mapping[str, Any], syntax: Syntax, *, cut: bool
) -> Iterator[str]:
    for written, value in options.items():
        name = _name(written)
        if value is None or name in RETIRED or (name == LENGTH and cut):
            continue
        yield from _words(name, value, syntax)


def _words(name: str, value: Any, syntax: Syntax) -> Iterator[str]:
    if name in syntax.switches:
        yield from _switch(name, syntax, on=str(value).lower() == "true")
    elif name in syntax.lists and isinstance(value, list):
        yield from (f"--{name}", *map(_text, value))
    else:
        yield f"--{name}={_text(value)}"


def _switch(name: str, syntax: Syntax, *, on: bool) -> Iterator[str]:
    """Yield the flag, or its opposite where there is one."""
    bare = name.removeprefix("no-")
    opposite = f"no-{name}" if bare == name else bare
    chosen = name if on else opposite
    if chosen in syntax.switches:
        yield f"--{chosen}"


def _text(value: Any) -> str:
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return str(value)


def _name(word: str) -> str:
    """Return an option's name as vLLM has it; what follows a dot is its own."""
    name = word.removeprefix("--").partition("=")[0]
    option, dot, rest = name.partition(".")
    return f"{option.replace('_', '-')}{dot}{rest}"


def _is_cut(given: Iterable[str]) -> bool:
    """Whether the command has a length: the plan's, which knows the file's."""
    lengths = [word.partition("=")[2] for word in given if _name(word) == LENGTH]
    return any(length.isdigit() for length in lengths)
