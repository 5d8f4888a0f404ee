"""The contract between the endpoints and whatever generates tokens.

An endpoint submits a `GenerationRequest` and iterates over chunks of tokens.
How requests are scheduled (one by one, or as one batch that requests join and
leave) is the engine's business and does not show here.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What to generate; validated, so that an engine need not look again."""

    id: str
    prompt: tuple[int, ...]
    #: Most tokens to generate for each sequence.
    max_new_tokens: int
    #: Answers to the one prompt.
    sequences: int = 1
    #: Arguments of transformers' ``generate``, as its documentation has them.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Subtracted from the logits of tokens generated before, as OpenAI has it.
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    #: Added to the logits of these tokens.
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    #: Texts that end a sequence; they are not part of the answer.
    stop: tuple[str, ...] = ()
    seed: int | None = None
    #: How many likely tokens to report at each step; None: no probabilities.
    top_logprobs: int | None = None
    #: The adapter that answers, without the others; None: all of them, merged.
    adapter: str | None = None

    @property
    def beam_search(self) -> bool:
        """Whether sequences are known only once all is generated."""
        return int(self.options.get("num_beams", 1)) > 1


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The probability the model gave one token, before temperature and top-k."""

    token_id: int
    logprob: float
    #: The likeliest tokens at this step, likeliest first.
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of one sequence. The pieces' texts put together are the answer.

    A text may come later than its tokens: a character may take several, and
    what may be the start of a stop text waits for its end.
    """

    sequence: int
    token_ids: tuple[int, ...]
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    #: Set in the sequence's last chunk alone.
    finish_reason: FinishReason | None = None


class Generation(Protocol):
    """A request that was accepted."""

    #: When its first forward pass began (`time.monotonic`); None while it waits.
    started_at: float | None

    def chunks(self) -> AsyncIterator[Chunk]:
        """Iterate over the chunks, once; raises `ApiError` if generation fails."""
        ...

    def cancel(self) -> None:
        """Stop at the next token. Safe at any time, and more than once."""
        ...


class Engine(Protocol):
    """Generates tokens for requests."""

    @property
    def running(self) -> int:
        """Requests that are being generated."""
        ...

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        ...

    @property
    def places(self) -> int:
        """Requests that may run and wait, together."""
        ...

    @property
    def batching(self) -> bool:
        """Whether requests share a running batch."""
        ...

    @property
    def cache_usage(self) -> float:
        """The share of the batch's memory that is in use, from 0 to 1."""
        ...

    @property
    def failure(self) -> str | None:
        """Why only a restart helps, or None while it generates."""
        ...

    def check_room(self, requests: int) -> None:
        """Raise `QueueFullError` if so many would not be accepted now."""
        ...

    def submit(self, request: GenerationRequest) -> Generation:
        """Accept a request; called on the event loop's thread, returns at once.

        Raises:
            QueueFullError: if too many wait already.
        """
        ...

    def close(self) -> None:
        """Fail whatever is not finished and take nothing more."""
        ...
