from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykaito.runtime.hf.detokenizer import Detokenizer

TEXTS = ["hello world", "Größe, naïve, 北京, 👩‍🚀!", "a\ufffdb", "  two  spaces\n"]


@pytest.fixture(scope="module")
def tokenizer(model_folder: Callable[[str], Path]) -> Any:
    from transformers import AutoTokenizer  # noqa: PLC0415 - seconds, for these tests only

    return AutoTokenizer.from_pretrained(model_folder("phi3"))


def decoder(tokenizer: Any) -> Callable[[list[int]], str]:
    return lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True))


def letters(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def pieces(text: str, *, stop: Sequence[str], prompt: str = "") -> list[str]:
    detokenizer = Detokenizer(letters, [ord(letter) for letter in prompt], stop)
    found = [detokenizer.push(ord(letter)) for letter in text]
    return [*found, detokenizer.flush()]


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_put_together_are_the_text(text: str, tokenizer: Any) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    detokenizer = Detokenizer(decoder(tokenizer), [])
    found = [detokenizer.push(token) for token in ids]
    assert "".join([*found, detokenizer.flush()]) == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    prompt=st.lists(st.integers(0, 2047), max_size=3),
    answer=st.lists(st.integers(0, 2047), max_size=30),
)
def test_any_tokens_give_the_text_that_decoding_them_at_once_gives(
    tokenizer: Any, prompt: list[int], answer: list[int]
) -> None:
    decode = decoder(tokenizer)
    before = decode(prompt)
    if before.endswith("\ufffd"):
        return  # where the prompt's text ends is anyone's guess
    detokenizer = Detokenizer(decode, prompt)
    found = "".join(detokenizer.push(token) for token in answer)
    assert found + detokenizer.flush() == decode(prompt + answer)[len(before) :]


def test_a_character_of_several_tokens_comes_whole(tokenizer: Any) -> None:
    ids = tokenizer.encode("👩", add_special_tokens=False)
    assert len(ids) > 1
    detokenizer = Detokenizer(decoder(tokenizer), [])
    assert [detokenizer.push(token) for token in ids] == [""] * (len(ids) - 1) + ["👩"]


@pytest.mark.parametrize("kind", ["special", "byte"])
def test_tokens_that_are_no_text_take_no_more_time_each(
    kind: str, tokenizer: Any
) -> None:
    """A model may give nothing else until its answer is as long as may be."""
    continuation, letter = tokenizer.encode("é", add_special_tokens=False)[-1], "é👩"
    nothing = tokenizer.eos_token_id if kind == "special" else continuation
    ids = [nothing] * 500 + tokenizer.encode(letter, add_special_tokens=False)
    decode, longest = decoder(tokenizer), 0

    def measured(ids: list[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return decode(ids)

    detokenizer = Detokenizer(measured, tokenizer.encode("a"))
    found = "".join(detokenizer.push(token) for token in ids) + detokenizer.flush()
    assert found == decode(ids)
    assert longest < 100


def test_text_that_may_begin_a_stop_text_waits_for_its_end() -> None:
    assert pieces("a</b>", stop=["</s>"]) == ["a", "", "", "</b", ">", ""]


def test_nothing_from_a_stop_text_on_is_returned() -> None:
    assert "".join(pieces("one END two", stop=["END"])) == "one "


def test_the_first_of_several_stop_texts_counts() -> None:
    assert "".join(pieces("a;b.c", stop=[".", ";"])) == "a"


def test_what_only_began_like_a_stop_text_is_returned_at_the_end() -> None:
    assert "".join(pieces("one EN", stop=["END"])) == "one EN"


def test_a_stop_text_in_the_prompt_stops_nothing() -> None:
    assert "".join(pieces("abc", stop=["END"], prompt="END")) == "abc"
