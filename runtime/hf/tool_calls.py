"""The calls of tools in an answer, found while its text comes."""

import json
import secrets
import string
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from pykaito.runtime.hf.tool_form import ToolForm

_ID_CHARACTERS = string.ascii_letters + string.digits


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


#: NaN and its like are Python's, and no JSON.
_DECODER = json.JSONDecoder(parse_constant=_refuse)
#: What models write between calls that nothing marks.
_SEPARATORS = " \t\r\n,;"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call: the arguments are a JSON object as text, as OpenAI has them."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class AnswerText:
    """The text of one answer, told apart: what is content, and what is calls.

    Text that may be a call is held back until the answer ends. If it is none after
    all, it is content: nothing that the model wrote is lost.
    """

    form: ToolForm
    #: The tools that there are. JSON that nothing marks is a call of one, or content.
    names: AbstractSet[str]
    _held: str = ""
    #: Whether all that comes is content, or belongs to a call.
    _only_content: bool = False
    _in_call: bool = False
    calls: list[ToolCall] = field(default_factory=list)

    def add(self, text: str) -> str:
        """Take more text; return what is content for sure."""
        if self._only_content:
            return text
        self._held += text
        if self._in_call:
            return ""
        sure = self._begin_of_call() if self.form.begin else self._sure_of_bare()
        content, self._held = self._held[:sure], self._held[sure:]
        return content

    def finish(self) -> str:
        """Return the rest of the content; `calls` are known then."""
        held, self._held = self._held, ""
        rest = []
        for part, begins in self._parts(held):
            found, end = self._decode(part) if begins else ([], 0)
            self.calls += found
            if found:
                left = part[end:].strip(_SEPARATORS).removeprefix(self.form.end)
                rest.append(left.strip())
            else:
                rest.append(self.form.begin + part if begins else part)
        return "".join(rest)

    def _begin_of_call(self) -> int:
        """Return where a call begins, or may begin with the next text."""
        begin = self.form.begin
        found = self._held.find(begin)
        if found >= 0:
            self._in_call = True
            return found
        return next(
            len(self._held) - size
            for size in range(min(len(begin) - 1, len(self._held)), -1, -1)
            if self._held.endswith(begin[:size])
        )

    def _sure_of_bare(self) -> int:
        """Return how much is content where a call is an answer that is JSON."""
        text = self._held.lstrip()
        if not text:
            return 0
        if text[0] in "{[":
            self._in_call = True
            return 0
        self._only_content = True
        return len(self._held)

    def _parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yield the text piece by piece, and whether a call is to begin each."""
        if not self.form.begin:
            yield text, True
            return
        before, *parts = text.split(self.form.begin)
        yield before, False
        for part in parts:
            yield part, True

    def _decode(self, text: str) -> tuple[list[ToolCall], int]:
        """Return the calls that a text begins with, and where they end."""
        calls: list[ToolCall] = []
        end = 0
        while True:
            start = len(text) - len(text[end:].lstrip(_SEPARATORS))
            try:
                value, after = _DECODER.raw_decode(text, start)
            except (ValueError, RecursionError):
                return calls, end
            items = value if isinstance(value, list) else [value]
            found = [call for item in items if (call := self._call(item))]
            if not found or len(found) < len(items):
                return calls, end
            calls += found
            end = after

    def _call(self, value: Any) -> ToolCall | None:
        form = self.form
        if form.within and isinstance(value, dict):
            value = value.get(form.within)
        if not isinstance(value, dict):
            return None
        name, arguments = value.get(form.name), value.get(form.arguments)
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return None
        if not form.begin and name not in self.names:
            return None
        written = json.dumps(arguments, ensure_ascii=False)
        try:
            (name + written).encode()
        except UnicodeEncodeError:
            return None
        return ToolCall(_new_id(), name, written)


def _new_id() -> str:
    """Return an id that all templates take: some insist on nine of these."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(9))
