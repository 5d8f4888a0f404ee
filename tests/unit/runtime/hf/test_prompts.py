from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from pykaito.runtime.hf.errors import InvalidRequestError
from pykaito.runtime.hf.loading import LoadedModel
from pykaito.runtime.hf.prompts import PromptReader

Load = Callable[[str], LoadedModel]


class Unread:
    """A tokenizer that must not be asked."""

    def get_vocab(self) -> dict[str, int]:
        return {"word": 0}

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        raise AssertionError((len(text), add_special_tokens))

    def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
        return messages[0]["content"]


def reader(tokenizer: Any, **changes: Any) -> PromptReader:
    fields = {"context_length": 100, "vocabulary_size": 2048} | changes
    return PromptReader(tokenizer, chat_template="{{ messages[0].content }}", **fields)


async def test_a_text_far_beyond_the_context_is_refused_unread() -> None:
    """Megabytes would keep the tokenizer from everyone else for seconds."""
    wanted = "found 404 characters, which are 101 tokens or more"
    with pytest.raises(InvalidRequestError, match=wanted) as refused:
        await reader(Unread()).text("a" * 404)
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(InvalidRequestError, match=wanted):
        await reader(Unread()).chat([{"content": "a" * 404}])


async def test_of_a_text_that_may_be_cut_the_end_is_read(loaded_model: Load) -> None:
    tokenizer = loaded_model("phi3").tokenizer
    text = "def main(): return settings " * 5000
    found = await reader(tokenizer).text(text, cut_beginning=True)
    assert 100 < len(found) < 100_000
    assert list(found[-100:]) == tokenizer.encode(text)[-100:]


def like_sentencepiece() -> Any:
    """Return a tokenizer that writes spaces and bytes as SentencePiece does."""
    words = ["<unk>", "a", "\N{LOWER ONE EIGHTH BLOCK}"]
    words += [f"<0x{byte:02X}>" for byte in range(256)]
    ids = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(ids, [], unk_token="<unk>", byte_fallback=True))
    space = words[2]
    tokenizer.normalizer = normalizers.Replace(" ", space)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(space, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece"])
def test_the_bytes_of_tokens_put_together_are_the_text(
    kind: str, loaded_model: Load
) -> None:
    byte_level = kind == "byte-level"
    tokenizer = loaded_model("phi3").tokenizer if byte_level else like_sentencepiece()
    text = " a 👩\N{NO-BREAK SPACE}é\N{REPLACEMENT CHARACTER}a"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) > len(text)
    tokens = [reader(tokenizer).token(token_id) for token_id in ids]
    assert bytes(byte for token in tokens for byte in token.utf8).decode() == text


async def test_a_text_whose_tokens_the_model_has_not_is_refused(
    loaded_model: Load,
) -> None:
    """A GPU would fail for good on them."""
    tokenizer = loaded_model("phi3").tokenizer
    small = reader(tokenizer, vocabulary_size=10)
    with pytest.raises(InvalidRequestError, match="the model's are 0 to 9"):
        await small.text("def main():")
