"""Settings that users write as YAML in a ConfigMap: plain values, safely read."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import yaml

#: Settings take far less; a ConfigMap may have 1 MiB.
LONGEST_TEXT = 64 * 1024
#: Names and values of a text, brackets counted; vLLM has a few hundred options. A
#: long text of short ones would take a second to read.
MOST_EVENTS = 4096
#: Settings are a mapping of plain values, some of them mappings.
DEEPEST = 16


class InvalidConfigError(Exception):
    """The text is no configuration; the message has path, found and remedy."""

    def __init__(self, path: str, found: str, remedy: str) -> None:
        self.path = path
        super().__init__(f"{path + ': ' if path else ''}found {found}; {remedy}")


def load_settings(text: str, known: Iterable[str]) -> dict[str, Any]:
    """Return the settings in a text, none for an empty one.

    Args:
        text: YAML.
        known: what there is to set, for the message where it is no mapping.

    Raises:
        InvalidConfigError: it is no YAML, or not of plain values by name.
    """
    if len(text) > LONGEST_TEXT:
        raise InvalidConfigError(
            "", f"{len(text)} characters", f"write {LONGEST_TEXT} at most"
        )
    try:
        _check_events(text)
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        message = f"text that is no YAML ({_first_line(error)})"
        raise InvalidConfigError("", message, "write names and values") from None
    except (ValueError, OverflowError) as error:
        # A number of too many digits, or a date that there is not.
        message = f"a value that cannot be read ({_first_line(error)})"
        raise InvalidConfigError("", message, "write plain values") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InvalidConfigError(
            "", word(content), f"write a mapping with {', '.join(known)}"
        )
    _check_plain(content, "")
    return content


class _Loader(yaml.CSafeLoader):
    """Builds plain values, and refuses a mapping that has a key twice."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = Counter(str(key.value) for key, _ in node.value)
            raise InvalidConfigError(
                keys.most_common(1)[0][0], "it twice", "write it once"
            )
        return mapping


def _check_events(text: str) -> None:
    """Refuse aliases, which can make much of little, and no end of values."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        if number > MOST_EVENTS:
            raise InvalidConfigError(
                "", f"more than {MOST_EVENTS} names and values", "write plain settings"
            )
        if isinstance(event, yaml.AliasEvent):
            raise InvalidConfigError(
                "", f"the alias *{event.anchor}", "write the value out"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise InvalidConfigError(
                "", f"values nested deeper than {DEEPEST}", "write plain settings"
            )


def _check_plain(value: Any, path: str) -> None:
    """Check that a value is of those that JSON has, with texts as names."""
    match value:
        case dict():
            for name, inner in value.items():
                if not isinstance(name, str):
                    raise InvalidConfigError(
                        path, f"the name {word(name)}", "write it in quotes"
                    )
                _check_plain(inner, f"{path}.{name}" if path else name)
        case list():
            for number, inner in enumerate(value):
                _check_plain(inner, f"{path}[{number}]")
        case None | bool() | int() | float() | str():
            pass
        case _:
            raise InvalidConfigError(path, word(value), "write it in quotes")


def word(found: Any) -> str:
    """Name a value in a few words, so that no message carries all of it."""
    match found:
        case None:
            return "none"
        case dict() | list():
            return "a mapping" if isinstance(found, dict) else "a list"
        case _:
            return repr(found)[:80]


def _first_line(error: Exception) -> str:
    """Return an error of YAML in one line, with the place if it tells one."""
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}" if mark else ""
    what = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return f"{what[:120]}{where}"
