"""Tokens to text, piece by piece, and the texts that end an answer."""

from collections.abc import Callable, Sequence

#: Tokens of the prompt that are decoded along with the answer's first ones:
#: whether a word begins with a space can depend on what is before it.
CONTEXT_TOKENS = 6

#: Tokens after which bytes that are no character yet never will be one. Special
#: tokens, which are no text, may stand between them.
MOST_UNREAD = 32

#: What stands for bytes that are no character, or not yet.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """The text of one sequence, growing token by token.

    Args:
        decode: Token ids to text, as the whole text would be decoded.
        prompt: The tokens before the sequence.
        stop: Texts at which the sequence ends.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        prompt: Sequence[int],
        stop: Sequence[str] = (),
    ) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        #: Tokens still needed to decode the next one, and the text they make.
        self._window = list(prompt[-CONTEXT_TOKENS:])
        self._before = decode(self._window)
        self._unread = 0
        #: Text that may turn out to be the start of a stop text.
        self._held = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """Take a token and return the text that is now certain.

        Sets ``stopped`` when a stop text has appeared; nothing after it is
        returned, then or later.
        """
        self._window.append(token_id)
        self._unread += 1
        text = self._decode(self._window)
        certain = text
        if self._unread <= MOST_UNREAD:
            certain = text.rstrip(REPLACEMENT)
        new = certain[len(self._before) :]
        if certain == text and new:
            # A clean end: only these tokens matter for decoding the next one.
            self._window = self._window[-self._unread :]
            self._before = self._decode(self._window)
            self._unread = 0
        elif new:
            self._before += new
        elif certain == text and self._unread > MOST_UNREAD // 2:
            # No text, and not the beginning of any: a model that gives nothing else
            # would have all of it decoded again and again.
            self._window.pop()
            self._unread -= 1
        return self._release(new)

    def flush(self) -> str:
        """Return what is left when the sequence has ended."""
        if self.stopped:
            return ""
        rest = self._decode(self._window)[len(self._before) :]
        text = self._release(rest)
        if not self.stopped:
            text += self._held
            self._held = ""
        return text

    def _release(self, new: str) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of the text that begins the stop."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
