"""POST /chat: KAITO's endpoint, ``{"Result": "..."}``."""

import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request

from pykaito.runtime.hf.chat_schema import ChatBody, GenerateKwargs
from pykaito.runtime.hf.disconnect import unless_disconnected
from pykaito.runtime.hf.engine import GenerationRequest
from pykaito.runtime.hf.errors import InvalidRequestError
from pykaito.runtime.hf.flags import Settings
from pykaito.runtime.hf.lifecycle import Lifecycle
from pykaito.runtime.hf.openapi import OF_ANY_GENERATION, replies
from pykaito.runtime.hf.prompts import PromptReader
from pykaito.runtime.hf.reply_schema import ChatResult
from pykaito.runtime.hf.service import GenerationService, Run

#: Fields that are not arguments of ``generate``, or that it is told otherwise.
NOT_OPTIONS = {
    "diversity_penalty",
    "max_length",
    "max_new_tokens",
    "num_beam_groups",
    "num_return_sequences",
    "output_scores",
    "return_dict_in_generate",
}

#: Fields that hold token ids.
TOKEN_FIELDS = (
    "pad_token_id",
    "eos_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
)


def chat_router(
    settings: Settings, lifecycle: Lifecycle, service: GenerationService
) -> APIRouter:
    """Return the endpoint."""
    router = APIRouter()

    @router.post(
        "/chat", response_model=None, responses=replies(ChatResult, *OF_ANY_GENERATION)
    )
    async def chat(body: ChatBody, request: Request) -> dict[str, Any]:
        """Continue a prompt, or answer a conversation."""
        reader = lifecycle.reader
        kwargs = body.generate_kwargs
        check_token_fields(kwargs, reader)
        service.check_room()
        prompt, shown, field = await unless_disconnected(
            request, read_prompt(body, settings.pipeline, reader)
        )
        if body.handle_long_generation == "hole":
            prompt = cut_beginning(prompt, kwargs, reader.context_length)
        generation = GenerationRequest(
            id=f"chat-{uuid.uuid4().hex}",
            prompt=prompt,
            max_new_tokens=answer_length(prompt, kwargs, reader, field),
            sequences=kwargs.num_return_sequences,
            options=kwargs.model_dump(exclude=NOT_OPTIONS, exclude_none=True),
        )
        run = service.accept(generation)
        answers = await unless_disconnected(request, _collect(run))
        before = shown if body.return_full_text else ""
        results = [
            before
            + _new_text(reader, prompt, answer, body.clean_up_tokenization_spaces)
            for answer in answers
        ]
        reply: dict[str, Any] = {"Result": "".join(results)}
        if len(results) > 1:
            reply["Results"] = results
        return reply

    return router


async def read_prompt(
    body: ChatBody, pipeline: str, reader: PromptReader
) -> tuple[tuple[int, ...], str, str]:
    """Return the prompt's tokens, its text if the answer may repeat it, its field.

    With both ``prompt`` and ``messages``, the pipeline's own is used, as KAITO
    does; with one of them, that one.
    """
    conversational = pipeline == "conversational"
    if body.messages is not None and (conversational or body.prompt is None):
        messages = [message.plain() for message in body.messages]
        return await reader.chat(messages), "", "messages"
    if body.prompt is None:
        wanted = "messages" if conversational else "prompt"
        raise InvalidRequestError(
            f"{wanted}: required, found neither prompt nor messages", param=wanted
        )
    text = (body.prefix or "") + body.prompt
    if conversational:
        messages = [{"role": "user", "content": text}]
        return await reader.chat(messages, param="prompt"), "", "prompt"
    cut = body.handle_long_generation == "hole"
    return await reader.text(text, cut_beginning=cut), text, "prompt"


def cut_beginning(
    prompt: Sequence[int], kwargs: GenerateKwargs, context_length: int
) -> tuple[int, ...]:
    """Drop as much of a prompt's beginning as the answer needs room."""
    wanted = kwargs.max_new_tokens
    if wanted is None:
        wanted = max(kwargs.max_length - len(prompt), 1)
    keep = context_length - wanted
    if keep <= 0:
        raise InvalidRequestError(
            f"generate_kwargs.max_new_tokens: found {wanted}, the model's context "
            f"holds {context_length}, the prompt included",
            param="generate_kwargs.max_new_tokens",
            code="context_length_exceeded",
        )
    return tuple(prompt[-keep:])


def answer_length(
    prompt: Sequence[int], kwargs: GenerateKwargs, reader: PromptReader, param: str
) -> int:
    """Return how many tokens the answer may have.

    ``max_length`` beyond the context is cut to it: unlike ``max_new_tokens``
    it says where to stop at the latest, not how much is wanted.
    """
    if kwargs.max_new_tokens is not None:
        return reader.max_new_tokens(
            prompt,
            kwargs.max_new_tokens,
            param=param,
            field="generate_kwargs.max_new_tokens",
        )
    room = reader.room(prompt, param=param)
    if len(prompt) >= kwargs.max_length:
        raise InvalidRequestError(
            f"generate_kwargs.max_length: found {kwargs.max_length}, which the prompt "
            f"of {len(prompt)} tokens fills already: raise it, or use max_new_tokens",
            param="generate_kwargs.max_length",
        )
    return min(room, kwargs.max_length - len(prompt))


def check_token_fields(kwargs: GenerateKwargs, reader: PromptReader) -> None:
    """Refuse token ids the model has not: a GPU would fail for good on them."""
    for field in TOKEN_FIELDS:
        value = getattr(kwargs, field)
        if value is not None:
            ids = [value] if isinstance(value, int) else value
            reader.check_token_ids(ids, param=f"generate_kwargs.{field}")
    for words in kwargs.bad_words_ids or ():
        reader.check_token_ids(words, param="generate_kwargs.bad_words_ids")


async def _collect(run: Run) -> list[list[int]]:
    answers: list[list[int]] = [[] for _ in range(run.request.sequences)]
    try:
        async for chunk in run:
            answers[chunk.sequence] += chunk.token_ids
    finally:
        run.close()
    return answers


def _new_text(
    reader: PromptReader, prompt: Sequence[int], answer: Sequence[int], clean: bool
) -> str:
    """Return what the answer adds to the prompt's text."""
    before = reader.decode(prompt, clean_up_spaces=clean)
    return reader.decode([*prompt, *answer], clean_up_spaces=clean)[len(before) :]
