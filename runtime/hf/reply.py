"""The runs behind one reply, as its choices: all at once, or event by event."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from pykaito.runtime.hf.engine import Chunk, GenerationRequest
from pykaito.runtime.hf.openai_replies import Answer, usage
from pykaito.runtime.hf.service import GenerationService, Run
from pykaito.runtime.hf.side_by_side import side_by_side


class Reply:
    """One reply: a run per prompt, a choice per sequence of each.

    Args:
        service: What runs the requests.
        requests: One per prompt, each with the same number of sequences.
        envelope: The fields of the reply beside its choices and usage.

    Raises:
        QueueFullError, NotReadyError: if one of them is not accepted; then
            none is.
    """

    def __init__(
        self,
        service: GenerationService,
        requests: Sequence[GenerationRequest],
        envelope: Mapping[str, Any],
    ) -> None:
        self._envelope = envelope
        self._runs: list[Run] = []
        try:
            for request in requests:
                self._runs.append(service.accept(request))
        except Exception:
            self.close()
            raise
        self._per_prompt = requests[0].sequences
        self._prompt_tokens = sum(len(request.prompt) for request in requests)
        self._completion_tokens = 0

    def close(self) -> None:
        """Stop what is not finished; call it in any case, at the end."""
        for run in self._runs:
            run.close()

    async def whole(
        self, shape: Callable[[int, Answer], dict[str, Any]]
    ) -> dict[str, Any]:
        """Wait for all of it.

        Args:
            shape: Makes a choice of its index and answer.
        """
        answers = [Answer() for _ in range(len(self._runs) * self._per_prompt)]
        async for index, chunk in self._chunks():
            answers[index].add(chunk)
        choices = [shape(index, answer) for index, answer in enumerate(answers)]
        return {**self._envelope, "choices": choices, "usage": self._usage()}

    async def events(
        self,
        shape: Callable[[int, Chunk], dict[str, Any]],
        *,
        opening: Callable[[int], dict[str, Any]] | None,
        include_usage: bool,
    ) -> AsyncIterator[dict[str, Any]]:
        """Give each piece as it comes.

        Args:
            shape: Makes a choice of a chunk.
            opening: Makes the choice that comes before an answer's first chunk.
            include_usage: Whether token counts come last.
        """
        extra = {"usage": None} if include_usage else {}
        begun: set[int] = set()
        async for index, chunk in self._chunks():
            if opening is not None and index not in begun:
                begun.add(index)
                yield {**self._envelope, "choices": [opening(index)], **extra}
            if chunk.text or chunk.logprobs or chunk.finish_reason:
                yield {**self._envelope, "choices": [shape(index, chunk)], **extra}
        if include_usage:
            yield {**self._envelope, "choices": [], "usage": self._usage()}

    async def _chunks(self) -> AsyncIterator[tuple[int, Chunk]]:
        async for number, chunk in side_by_side(self._runs):
            self._completion_tokens += len(chunk.token_ids)
            yield number * self._per_prompt + chunk.sequence, chunk

    def _usage(self) -> dict[str, int]:
        return usage(self._prompt_tokens, self._completion_tokens)
