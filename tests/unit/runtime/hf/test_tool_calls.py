"""Calls of tools are found in answers, however their text is cut."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykaito.runtime.hf.tool_calls import AnswerText
from pykaito.runtime.hf.tool_form import ToolForm

TAGGED = ToolForm("<tool_call>", "</tool_call>", "name", "arguments")
BARE = ToolForm("", "", "name", "parameters")
NESTED = ToolForm("", "", "name", "arguments", within="function")

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
OTHER = '<tool_call>{"arguments": {}, "name": "stop"}</tool_call>'
BARE_CALL = '{"name": "add", "parameters": {"a": 1}}'

ADD, STOP = ("add", {"a": 1}), ("stop", {})

CASES = [
    (TAGGED, CALL, "", [ADD]),
    (TAGGED, f"Let me see.\n{CALL}", "Let me see.\n", [ADD]),
    (TAGGED, f"{CALL}\n{OTHER}\n", "", [ADD, STOP]),
    (TAGGED, f"{CALL} Done.", "Done.", [ADD]),
    # Forgotten, as some models do.
    (TAGGED, CALL.removesuffix("</tool_call>"), "", [ADD]),
    (TAGGED, CALL[:30], CALL[:30], []),
    (TAGGED, f"{CALL}<tool_call>oops", "<tool_call>oops", [ADD]),
    (TAGGED, "1 < 2, <tool", "1 < 2, <tool", []),
    (TAGGED, '<tool_call>{"name": 1, "arguments": {}}', None, []),
    (TAGGED, '<tool_call>{"name": "add", "arguments": {"a": NaN}}', None, []),
    (TAGGED, '<tool_call>{"name": "add", "arguments": {"a": "\\ud800"}}', None, []),
    (TAGGED, "<tool_call>" + "[" * 20_000, None, []),
    (BARE, BARE_CALL, "", [ADD]),
    (BARE, f"\n{BARE_CALL}; {BARE_CALL}", "", [ADD, ADD]),
    (BARE, f"[{BARE_CALL}]", "", [ADD]),
    # Not at the beginning, of no tool that there is, or cut off.
    (BARE, f"Try {BARE_CALL}", None, []),
    (BARE, BARE_CALL.replace("add", "Ada"), None, []),
    (BARE, BARE_CALL[:20], None, []),
    (BARE, '{"answer": 42}', None, []),
    (BARE, "  ", "  ", []),
    (
        NESTED,
        '[{"id": "x", "function": {"name": "stop", "arguments": {}}}]',
        "",
        [STOP],
    ),
]


def told_apart(form: ToolForm, parts: Sequence[str]) -> tuple[str, AnswerText]:
    answer = AnswerText(form, frozenset({"add", "stop"}))
    return "".join([*map(answer.add, parts), answer.finish()]), answer


@pytest.mark.parametrize(("form", "text", "content", "calls"), CASES)
@given(data=st.data())
def test_calls_and_content_are_told_apart(
    data: st.DataObject,
    form: ToolForm,
    text: str,
    content: str | None,
    calls: list[tuple[str, object]],
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, min(len(text), 200)))))
    ends = [*cuts, len(text)]
    parts = [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    found, answer = told_apart(form, parts)
    assert found == (text if content is None else content)
    assert [(one.name, json.loads(one.arguments)) for one in answer.calls] == calls
    assert len({one.id for one in answer.calls}) == len(calls)


def test_what_can_be_no_call_is_passed_on_at_once() -> None:
    tagged = AnswerText(TAGGED, frozenset())
    assert [tagged.add(text) for text in ("Two ", "<", "t", "wo")] == [
        "Two ",
        "",
        "",
        "<two",
    ]
    bare = AnswerText(BARE, frozenset())
    assert [bare.add(text) for text in ("\n", "Two", "{")] == ["", "\nTwo", "{"]
