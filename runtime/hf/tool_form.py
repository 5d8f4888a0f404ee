"""How a model writes the calls of tools, learnt from its chat template.

There is no list of models: a template that knows tools writes an earlier call of an
assistant just as the model was taught to write one. An example is rendered, and what
surrounds its JSON is what to look for in answers.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

NAME, ARGUMENTS = "example_tool", {"example": "value"}

_TOOL = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "An example.",
        "parameters": {
            "type": "object",
            "properties": {"example": {"type": "string"}},
            "required": ["example"],
        },
    },
}
_QUESTION = {"role": "user", "content": "?"}

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ToolForm:
    """Where the calls are in an answer, and what is where in the JSON of one."""

    #: Text before a call and after it, as it is left when special tokens are gone:
    #: often empty. A call is then an answer that begins with JSON.
    begin: str
    end: str
    #: The keys of a call's name and of its arguments.
    name: str
    arguments: str
    #: The key of the object that has both, if it is not the call itself.
    within: str = ""


def tool_form(
    render: Callable[[Messages, Sequence[Any] | None, bool], str],
    visible: Callable[[str], str],
) -> ToolForm | None:
    """Return how the model calls tools; None if its template does not say it in JSON.

    Args:
        render: Writes a conversation by the chat template: messages, tools, and
            whether the answer is to begin. It may raise anything.
        visible: Returns what is left of a text without special tokens.
    """
    try:
        asked = render([_QUESTION], [_TOOL], True)
        if asked == render([_QUESTION], None, True):
            return None
        written = render([_QUESTION, _called(1)], [_TOOL], False)
    except Exception:  # noqa: BLE001 - a template is a program: it may raise anything
        return None
    same = zip(asked, written, strict=False)
    written = written[sum(1 for _ in takewhile(lambda pair: len({*pair}) == 1, same)) :]
    found = next(_calls(written), None)
    if found is None:
        return None
    start, _, within, name, arguments = found
    begin = written[:start].strip()
    end = _between(render).removesuffix(begin).strip()
    return ToolForm(
        visible(begin).strip(), visible(end).strip(), name, arguments, within
    )


def _between(render: Callable[[Messages, Sequence[Any] | None, bool], str]) -> str:
    """Return what a template writes between two calls; nothing where it takes one."""
    try:
        written = render([_QUESTION, _called(2)], [_TOOL], False)
    except Exception:  # noqa: BLE001 - as above
        return ""
    found = list(_calls(written))
    return written[found[-2][1] : found[-1][0]].strip() if len(found) > 1 else ""


def _called(times: int) -> dict[str, Any]:
    function = {"name": NAME, "arguments": ARGUMENTS}
    calls = [
        # Nine letters or digits: some templates refuse others.
        {"id": f"example0{number}", "type": "function", "function": function}
        for number in range(times)
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _calls(text: str) -> Iterator[tuple[int, int, str, str, str]]:
    """Yield where calls are: start, end, and the keys that are in them."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at] in "{[":
            try:
                value, end = decoder.raw_decode(text, at)
            except ValueError:
                value, end = None, at + 1
            call = value[0] if isinstance(value, list) and value else value
            if keys := _keys(call):
                yield at, end, *keys
                at = end
                continue
        at += 1


def _keys(call: Any) -> tuple[str, str, str] | None:
    if not isinstance(call, dict):
        return None
    inner = {"": call} | {k: v for k, v in call.items() if isinstance(v, dict)}
    for within, fields in inner.items():
        name = next((key for key, value in fields.items() if value == NAME), None)
        arguments = next((k for k, v in fields.items() if v == ARGUMENTS), None)
        if name and arguments:
            return within, name, arguments
    return None
