"""What a single token stands for: text, and the bytes that it is made of.

A character may take several tokens, none of which is text by itself. Vocabularies
write their bytes in one of two ways: a character for each byte, as GPT-2 began it,
or ``<0xE5>`` for one, as in SentencePiece.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pykaito.runtime.hf.detokenizer import REPLACEMENT

BYTE = re.compile("<0x([0-9A-F]{2})>")


def _bytes_by_character() -> dict[str, int]:
    """Return GPT-2's alphabet: what can be seen is itself, the rest comes behind."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    rest = [byte for byte in range(0x100) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {
        chr(0x100 + place): byte for place, byte in enumerate(rest)
    }


ALPHABET = _bytes_by_character()


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token as log-probabilities show it."""

    text: str
    #: Those of all tokens of a text, put together, are the text in UTF-8.
    utf8: list[int]


def token_text(tokenizer: Any, token_id: int, before: Sequence[int]) -> TokenText:
    """Return what a token stands for, special ones too.

    Args:
        tokenizer: The model's.
        token_id: The token's.
        before: Of some text: the first token of a text loses a space that it begins
            with.
    """
    whole: str = tokenizer.decode([*before, token_id])
    text = whole[len(tokenizer.decode(list(before))) :]
    if REPLACEMENT in text:
        return TokenText(text, _written(tokenizer, token_id) or list(text.encode()))
    return TokenText(text, list(text.encode()))


def _written(tokenizer: Any, token_id: int) -> list[int] | None:
    """Return the bytes that the vocabulary writes for a token; None: it writes text."""
    written: str = tokenizer.convert_ids_to_tokens(token_id) or ""
    if (match := BYTE.fullmatch(written)) is not None:
        return [int(match[1], 16)]
    if all(character in ALPHABET for character in written):
        return [ALPHABET[character] for character in written]
    return None
