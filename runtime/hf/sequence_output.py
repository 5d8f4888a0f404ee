"""What a sequence's tokens become on their way out: text, and a reason to end."""

from collections.abc import Callable, Collection

from pykaito.runtime.hf.detokenizer import Detokenizer
from pykaito.runtime.hf.engine import (
    Chunk,
    FinishReason,
    GenerationRequest,
    TokenLogprob,
)


class SequenceOutput:
    """One sequence of an answer, growing token by token.

    Args:
        request: What the sequence answers.
        index: Which of the request's sequences it is.
        end_tokens: Tokens that end it.
        decode: Token ids to text.
    """

    def __init__(
        self,
        request: GenerationRequest,
        index: int,
        *,
        end_tokens: Collection[int],
        decode: Callable[[list[int]], str],
    ) -> None:
        self._index = index
        self._end_tokens = end_tokens
        self._left = request.max_new_tokens
        self._text = Detokenizer(decode, request.prompt, request.stop)
        #: By an end token, a stop text or its length.
        self.finished = False

    def push(self, token_id: int, logprob: TokenLogprob | None = None) -> Chunk:
        """Take the next token; sets ``finished`` if it is the last."""
        self._left -= 1
        text = self._text.push(token_id)
        reason: FinishReason | None = None
        if token_id in self._end_tokens or self._text.stopped:
            reason = "stop"
        elif self._left <= 0:
            reason = "length"
        if reason is not None:
            self.finished = True
            text += self._text.flush()
            if self._text.stopped:
                reason = "stop"
        return Chunk(
            sequence=self._index,
            token_ids=(token_id,),
            text=text,
            logprobs=() if logprob is None else (logprob,),
            finish_reason=reason,
        )
