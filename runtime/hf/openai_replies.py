"""Answers and chunks as the JSON of OpenAI's choices."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pykaito.runtime.hf.engine import Chunk, FinishReason, TokenLogprob
from pykaito.runtime.hf.prompts import PromptReader
from pykaito.runtime.hf.tool_calls import AnswerText, ToolCall


@dataclass(slots=True)
class Answer:
    """One sequence, as far as it is known."""

    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    def add(self, chunk: Chunk) -> None:
        """Take the sequence's next chunk."""
        self.text += chunk.text
        self.logprobs += chunk.logprobs
        self.finish_reason = chunk.finish_reason or self.finish_reason


def envelope(kind: str, request_id: str, model: str) -> dict[str, Any]:
    """Return the fields that every reply and every event of a stream has."""
    created = int(time.time())
    return {"id": request_id, "object": kind, "created": created, "model": model}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Return the token counts of a reply."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


class ChatShapes:
    """Choices of /v1/chat/completions; one object for each reply.

    Args:
        reader: Says what tokens stand for.
        with_logprobs: Whether they are asked for.
        told_apart: Makes what finds calls of tools in an answer; None where there
            are no tools to call.
    """

    def __init__(
        self,
        reader: PromptReader,
        *,
        with_logprobs: bool,
        told_apart: Callable[[], AnswerText] | None = None,
    ) -> None:
        self._reader = reader
        self._with_logprobs = with_logprobs
        self._texts: defaultdict[int, AnswerText] | None = None
        if told_apart is not None:
            self._texts = defaultdict(told_apart)

    def whole(self, index: int, answer: Answer) -> dict[str, Any]:
        """Return a choice of a reply that is not streamed."""
        content, calls = self._told_apart(index, answer.text, answer.finish_reason)
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if calls:
            message["content"] = content.strip() or None
            message["tool_calls"] = [_called(call) for call in calls]
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(answer.logprobs),
            "finish_reason": "tool_calls" if calls else answer.finish_reason,
        }

    def opening(self, index: int) -> dict[str, Any]:
        """Return the choice that says who is speaking."""
        delta = {"role": "assistant", "content": ""}
        return self._delta(index, delta, (), None)

    def part(self, index: int, chunk: Chunk) -> dict[str, Any]:
        """Return the choice of one event."""
        content, calls = self._told_apart(index, chunk.text, chunk.finish_reason)
        delta: dict[str, Any] = {"content": content} if content else {}
        if calls:
            delta["tool_calls"] = [
                {"index": number, **_called(call)} for number, call in enumerate(calls)
            ]
        finish_reason = "tool_calls" if calls else chunk.finish_reason
        return self._delta(index, delta, chunk.logprobs, finish_reason)

    def _told_apart(
        self, index: int, text: str, finish_reason: FinishReason | None
    ) -> tuple[str, Sequence[ToolCall]]:
        if self._texts is None:
            return text, ()
        answer = self._texts[index]
        content = answer.add(text)
        if finish_reason is None:
            return content, ()
        return content + answer.finish(), answer.calls

    def _delta(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: Sequence[TokenLogprob],
        finish_reason: str | None,
    ) -> dict[str, Any]:
        return {
            "index": index,
            "delta": delta,
            "logprobs": self._logprobs(logprobs) if logprobs else None,
            "finish_reason": finish_reason,
        }

    def _logprobs(self, logprobs: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        if not self._with_logprobs:
            return None
        content = [
            self._entry(one.token_id, one.logprob)
            | {"top_logprobs": [self._entry(*pair) for pair in one.top]}
            for one in logprobs
        ]
        return {"content": content, "refusal": None}

    def _entry(self, token_id: int, logprob: float) -> dict[str, Any]:
        token = self._reader.token(token_id)
        return {"token": token.text, "logprob": logprob, "bytes": token.utf8}


def _called(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


class CompletionShapes:
    """Choices of /v1/completions; one object for each reply."""

    def __init__(self, reader: PromptReader, *, with_logprobs: bool) -> None:
        self._reader = reader
        self._with_logprobs = with_logprobs
        #: How much text the tokens reported so far have, by choice.
        self._offsets: defaultdict[int, int] = defaultdict(int)

    def whole(self, index: int, answer: Answer) -> dict[str, Any]:
        """Return a choice of a reply that is not streamed."""
        return self._choice(index, answer.text, answer.logprobs, answer.finish_reason)

    def part(self, index: int, chunk: Chunk) -> dict[str, Any]:
        """Return the choice of one event."""
        return self._choice(index, chunk.text, chunk.logprobs, chunk.finish_reason)

    def _choice(
        self,
        index: int,
        text: str,
        logprobs: Sequence[TokenLogprob],
        finish_reason: FinishReason | None,
    ) -> dict[str, Any]:
        found = self._logprobs(index, logprobs) if self._with_logprobs else None
        return {
            "index": index,
            "text": text,
            "logprobs": found,
            "finish_reason": finish_reason,
        }

    def _logprobs(self, index: int, logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
        tokens = [self._text(one.token_id) for one in logprobs]
        offsets = []
        for text in tokens:
            offsets.append(self._offsets[index])
            self._offsets[index] += len(text)
        return {
            "tokens": tokens,
            "token_logprobs": [one.logprob for one in logprobs],
            "top_logprobs": [self._likeliest(one) for one in logprobs],
            "text_offset": offsets,
        }

    def _likeliest(self, one: TokenLogprob) -> dict[str, float]:
        """Return the likeliest tokens and, as OpenAI does, the chosen one.

        Some may have the same text: parts of characters, say. The likelier counts.
        """
        found: dict[str, float] = {}
        for token_id, logprob in (*one.top, (one.token_id, one.logprob)):
            found.setdefault(self._text(token_id), logprob)
        return found

    def _text(self, token_id: int) -> str:
        return self._reader.token(token_id).text
