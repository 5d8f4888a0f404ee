"""What a chat template teaches of how a model calls tools."""

from collections.abc import Sequence
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from pykaito.runtime.hf.tool_form import ToolForm, tool_form

from .templates import IN_LISTS, IN_TAGS, ONE_AT_A_TIME, WITHOUT_TOOLS

#: To render a template, no word of it is needed.
TOKENIZER = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE()))
#: Special tokens of these templates, of which an answer's text has none.
SPECIAL = ["<|end|>", "<|calls|>"]

NO_JSON = (
    "{% for m in messages %}{% for c in m.tool_calls or [] %}"
    "<call name={{ c.function.name }}/>{% endfor %}{% endfor %}{{ tools }}"
)


def form_of(template: str) -> ToolForm | None:
    def render(messages: Sequence[Any], tools: Any, begin_answer: bool) -> str:
        text: str = TOKENIZER.apply_chat_template(
            list(messages),
            tools=tools,
            chat_template=template,
            add_generation_prompt=begin_answer,
            tokenize=False,
        )
        return text

    def visible(text: str) -> str:
        for token in SPECIAL:
            text = text.replace(token, "")
        return text

    return tool_form(render, visible)


@pytest.mark.parametrize(
    ("template", "form"),
    [
        (IN_TAGS, ToolForm("<tool_call>", "</tool_call>", "name", "arguments")),
        (IN_LISTS, ToolForm("", "", "name", "arguments", within="function")),
        (ONE_AT_A_TIME, ToolForm("", "", "name", "parameters")),
        (WITHOUT_TOOLS, None),
        (NO_JSON, None),
        ("{{ raise_exception('no') }}", None),
    ],
)
def test_the_form_is_that_of_an_earlier_call(
    template: str, form: ToolForm | None
) -> None:
    assert form_of(template) == form
