"""The OpenAI endpoints: /v1/models, /v1/chat/completions, /v1/completions."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from pykaito.runtime.hf.disconnect import unless_disconnected
from pykaito.runtime.hf.errors import ModelNotFoundError, NotReadyError
from pykaito.runtime.hf.event_stream import EventStream
from pykaito.runtime.hf.flags import Settings
from pykaito.runtime.hf.lifecycle import Lifecycle
from pykaito.runtime.hf.openai_replies import ChatShapes, CompletionShapes, envelope
from pykaito.runtime.hf.openai_requests import (
    chat_request,
    check_places,
    check_stream_options,
    chosen_adapter,
    completion_prompts,
    completion_request,
)
from pykaito.runtime.hf.openai_schema import (
    ChatCompletionBody,
    CompletionBody,
    SamplingFields,
)
from pykaito.runtime.hf.openapi import OF_ANY_GENERATION, replies
from pykaito.runtime.hf.prompts import PromptReader
from pykaito.runtime.hf.reply import Reply
from pykaito.runtime.hf.reply_schema import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    CompletionChunk,
    ModelList,
)
from pykaito.runtime.hf.service import GenerationService
from pykaito.runtime.hf.tool_calls import AnswerText

#: Who the model list says owns the model.
OWNER = "pykaito"

#: Seconds that a client has for reading the end of a stream.
UNREAD_SECONDS = 10.0


def openai_router(
    settings: Settings, lifecycle: Lifecycle, service: GenerationService
) -> APIRouter:
    """Return the endpoints."""
    router = APIRouter(prefix="/v1")
    created = int(time.time())
    name = settings.served_model_name

    def card(model: str, root: str, parent: str | None) -> dict[str, Any]:
        return {
            "id": model,
            "object": "model",
            "created": created,
            "owned_by": OWNER,
            "root": root,
            "parent": parent,
            "max_model_len": lifecycle.reader.context_length,
        }

    @router.get(
        "/models", response_model=None, responses=replies(ModelList, NotReadyError)
    )
    async def models() -> dict[str, Any]:
        """List the model, then its adapters."""
        served = card(name, settings.pretrained_model_name_or_path, None)
        adapters = [
            card(one.name, str(one.folder), name) for one in lifecycle.adapters.values()
        ]
        return {"object": "list", "data": [served, *adapters]}

    errors = (*OF_ANY_GENERATION, ModelNotFoundError)
    chat_replies = replies(ChatCompletion, *errors, events=ChatCompletionChunk)

    @router.post("/chat/completions", response_model=None, responses=chat_replies)
    async def chat_completions(body: ChatCompletionBody, request: Request) -> Response:
        """Answer a conversation."""
        reader = lifecycle.reader
        adapter = chosen_adapter(body.model, name, lifecycle.adapters)
        check_stream_options(body)
        service.check_room()
        messages = [message.plain() for message in body.messages]
        tools = [tool.plain() for tool in body.callable_tools]
        told_apart = await tool_reader(body, reader)
        prompt = await unless_disconnected(request, reader.chat(messages, tools=tools))
        wanted = chat_request(body, prompt, reader, lifecycle.defaults, adapter)
        kind = "chat.completion.chunk" if body.stream else "chat.completion"
        model = adapter or name
        reply = Reply(service, [wanted], envelope(kind, wanted.id, model))
        shapes = ChatShapes(
            reader, with_logprobs=bool(body.logprobs), told_apart=told_apart
        )
        return await _send(request, body, reply, shapes, service.timeout)

    completion_replies = replies(Completion, *errors, events=CompletionChunk)

    @router.post("/completions", response_model=None, responses=completion_replies)
    async def completions(body: CompletionBody, request: Request) -> Response:
        """Continue one prompt or several."""
        reader = lifecycle.reader
        adapter = chosen_adapter(body.model, name, lifecycle.adapters)
        check_stream_options(body)
        service.check_room()
        prompts = await unless_disconnected(request, completion_prompts(body, reader))
        check_places(len(prompts), lifecycle.ready_engine.places)
        wanted = [
            completion_request(body, prompt, reader, lifecycle.defaults, adapter)
            for prompt in prompts
        ]
        service.check_room(len(wanted))
        model = adapter or name
        reply = Reply(service, wanted, envelope("text_completion", wanted[0].id, model))
        with_logprobs = body.logprobs is not None
        shapes = CompletionShapes(reader, with_logprobs=with_logprobs)
        return await _send(request, body, reply, shapes, service.timeout)

    return router


async def tool_reader(
    body: ChatCompletionBody, reader: PromptReader
) -> Callable[[], AnswerText] | None:
    """Return what makes a reader of calls for each answer, if there is any to call.

    Raises:
        InvalidRequestError: if the model does not call tools.
    """
    if not body.callable_tools:
        return None
    names = frozenset(tool.function.name for tool in body.callable_tools)
    return partial(AnswerText, await reader.tool_form(), names)


async def _send(
    request: Request,
    body: SamplingFields,
    reply: Reply,
    shapes: ChatShapes | CompletionShapes,
    seconds: float,
) -> Response:
    if body.stream:
        options = body.stream_options
        events = reply.events(
            shapes.part,
            opening=shapes.opening if isinstance(shapes, ChatShapes) else None,
            include_usage=options is not None and options.include_usage,
        )
        # The generation ends by the timeout; its last words get a little longer.
        return EventStream(events, reply.close, seconds=seconds + UNREAD_SECONDS)
    try:
        whole = await unless_disconnected(request, reply.whole(shapes.whole))
    finally:
        reply.close()
    return JSONResponse(whole)
