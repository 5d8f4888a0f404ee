"""Requests to whatever answers: so many at once, for so long, and what was seen."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from hack import paths

_SEEDS = count()

#: Prompts that are tried until one is answered with any text.
TRIES = 5


class SilentAnswerError(RuntimeError):
    """Tokens of no text came, as a model of random weights may choose."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was seen of one request, which has all the tokens that it asked for."""

    prompt_tokens: int
    tokens: int
    #: Seconds to the first token.
    first_token: float
    #: Seconds from a token to the next.
    step: float
    #: The same in its second half, when the prompts of others have been read.
    late_step: float


@dataclass(frozen=True, slots=True)
class Load:
    """The answers that ended in time, and the seconds until the last of them."""

    answers: Sequence[Answer]
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return sum(answer.tokens for answer in self.answers) / self.seconds


class Clock:
    """When the pieces of one answer came."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._pieces: list[float] = []

    def tick(self) -> None:
        """Note that a piece came."""
        self._pieces.append(time.monotonic() - self._begun)

    def answer(self, *, prompt_tokens: int, tokens: int) -> Answer:
        """Return what was seen; pieces may be of several tokens each.

        Raises:
            SilentAnswerError: There was no piece.
        """
        if not self._pieces:
            raise SilentAnswerError(f"{tokens} tokens came without any text")
        per_piece = tokens / len(self._pieces)
        late = self._pieces[len(self._pieces) // 2 :]
        return Answer(
            prompt_tokens=prompt_tokens,
            tokens=tokens,
            first_token=self._pieces[0],
            step=_mean_gap(self._pieces) / per_piece,
            late_step=_mean_gap(late) / per_piece,
        )


def _mean_gap(times: Sequence[float]) -> float:
    return (times[-1] - times[0]) / max(1, len(times) - 1)


async def load(
    ask: Callable[[int], Awaitable[Answer]],
    *,
    requests: int,
    at_once: int,
    limit: float | None = None,
) -> Load:
    """Send requests, so many at once.

    Args:
        ask: Sends one, with the prompt that belongs to a number; no number comes
            twice, so that nobody has seen a prompt before.
        requests: How many in all.
        at_once: How many.
        limit: Seconds, after which those on their way are given up.

    Raises:
        RuntimeError: None ended in time, or one prompt after another gets no text.
    """
    left = iter(range(requests))
    begun = time.monotonic()
    ended: list[tuple[float, Answer]] = []

    async def one_client() -> None:
        for _ in left:
            answer = await _answered(ask)
            ended.append((time.monotonic() - begun, answer))

    clients = [asyncio.create_task(one_client()) for _ in range(at_once)]
    done, late = await asyncio.wait(
        clients, timeout=limit, return_when=asyncio.FIRST_EXCEPTION
    )
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    if not ended:
        raise RuntimeError(f"no answer ended within {limit} s")
    return Load([answer for _, answer in ended], ended[-1][0])


async def _answered(ask: Callable[[int], Awaitable[Answer]]) -> Answer:
    for _ in range(TRIES - 1):
        with suppress(SilentAnswerError):
            return await ask(next(_SEEDS))
    return await ask(next(_SEEDS))


def prompt(seed: int, words: int) -> str:
    """Return words in an order that no other prompt begins with."""
    listed = sorted(set((paths.ROOT / "CONTRIBUTING.md").read_text().split()))
    return " ".join(random.Random(seed).choices(listed, k=words))  # noqa: S311 - no secret
