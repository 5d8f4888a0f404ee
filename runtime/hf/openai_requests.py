"""Bodies of the OpenAI endpoints as requests for the engine."""

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pykaito.runtime.hf.engine import GenerationRequest
from pykaito.runtime.hf.errors import InvalidRequestError, ModelNotFoundError, shown
from pykaito.runtime.hf.openai_schema import (
    DIGITS,
    ChatCompletionBody,
    CompletionBody,
    SamplingFields,
)
from pykaito.runtime.hf.prompts import PromptReader

#: What OpenAI generates for a completion when not told how much.
DEFAULT_COMPLETION_TOKENS = 16

#: Temperatures below are greedy: dividing logits by less overflows.
LEAST_TEMPERATURE = 1e-4

Tokens = tuple[int, ...]


def chosen_adapter(
    name: str | None, served: str, adapters: Collection[str]
) -> str | None:
    """Return the adapter that a request asks for, None for the served model.

    Raises:
        ModelNotFoundError: if it asks for another model.
    """
    if name is None or name == served:
        return None
    if name in adapters:
        return name
    known = ", ".join(map(repr, (served, *adapters)))
    raise ModelNotFoundError(
        f"model: found {shown(name)}, this server has {known}", param="model"
    )


def check_stream_options(body: SamplingFields) -> None:
    """Refuse options of a stream that was not asked for."""
    if body.stream_options is not None and not body.stream:
        raise InvalidRequestError(
            "stream_options: found without stream, set stream to true",
            param="stream_options",
        )


def check_places(prompts: int, places: int) -> None:
    """Refuse more prompts than can run and wait at once: they never would fit."""
    if prompts > places:
        raise InvalidRequestError(
            f"prompt: found {prompts} prompts, this server takes {places} at once "
            "(--max_num_seqs and --max_queue): send fewer",
            param="prompt",
        )


def chat_request(
    body: ChatCompletionBody,
    prompt: Tokens,
    reader: PromptReader,
    defaults: Mapping[str, Any],
    adapter: str | None,
) -> GenerationRequest:
    """Return the request for a chat completion."""
    field = "max_completion_tokens"
    wanted = body.max_completion_tokens
    if wanted is None:
        field, wanted = "max_tokens", body.max_tokens
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequestError(
            "top_logprobs: found without logprobs, set logprobs to true",
            param="top_logprobs",
        )
    room = reader.max_new_tokens(prompt, wanted, param="messages", field=field)
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    return _request(
        *("chatcmpl", body, prompt, reader, defaults, adapter),
        room=room,
        logprobs=logprobs,
    )


def completion_request(
    body: CompletionBody,
    prompt: Tokens,
    reader: PromptReader,
    defaults: Mapping[str, Any],
    adapter: str | None,
) -> GenerationRequest:
    """Return the request for a completion of one prompt."""
    wanted = body.max_tokens
    if wanted is None:
        room = reader.room(prompt, param="prompt")
        room = min(room, DEFAULT_COMPLETION_TOKENS)
    else:
        room = reader.max_new_tokens(prompt, wanted, param="prompt", field="max_tokens")
    return _request(
        *("cmpl", body, prompt, reader, defaults, adapter),
        room=room,
        logprobs=body.logprobs,
    )


async def completion_prompts(
    body: CompletionBody, reader: PromptReader
) -> list[Tokens]:
    """Return the tokens of each prompt: texts, token ids, or a list of either."""
    prompts: Sequence[Any]
    if isinstance(body.prompt, str) or isinstance(body.prompt[0], int):
        prompts = [body.prompt]
    else:
        prompts = body.prompt
    found = []
    for prompt in prompts:
        if isinstance(prompt, str):
            found.append(await reader.text(prompt))
        else:
            reader.check_token_ids(prompt, param="prompt")
            found.append(tuple(prompt))
    return found


def _request(
    kind: str,
    body: SamplingFields,
    prompt: Tokens,
    reader: PromptReader,
    defaults: Mapping[str, Any],
    adapter: str | None,
    *,
    room: int,
    logprobs: int | None,
) -> GenerationRequest:
    options = sampling_options(body, defaults)
    sequences = body.n or 1
    if sequences > 1 and not options["do_sample"]:
        raise InvalidRequestError(
            f"n: found {sequences}, must be 1 with temperature 0: "
            "the answers would all be the same",
            param="n",
        )
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return GenerationRequest(
        id=f"{kind}-{uuid.uuid4().hex}",
        prompt=prompt,
        max_new_tokens=room,
        sequences=sequences,
        options=options,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        logit_bias=_logit_bias(body, reader),
        stop=tuple(text for text in stop if text),
        seed=body.seed,
        top_logprobs=logprobs,
        adapter=adapter,
    )


def sampling_options(
    body: SamplingFields, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields as arguments of ``generate``.

    Args:
        body: The request; what it does not say is the model's to say.
        defaults: What the model's generation_config.json says, if anything.
    """

    def chosen(name: str, otherwise: float | None) -> Any:
        value = getattr(body, name)
        return defaults.get(name, otherwise) if value is None else value

    options: dict[str, Any] = {}
    repetition = chosen("repetition_penalty", None)
    if repetition is not None:
        options["repetition_penalty"] = repetition
    temperature = chosen("temperature", 1.0)
    if temperature < LEAST_TEMPERATURE:
        return options | {"do_sample": False}
    options |= {
        "do_sample": True,
        "temperature": temperature,
        "top_p": chosen("top_p", 1.0),
        # 0 is off for `generate`, whose own default would be 50.
        "top_k": max(0, chosen("top_k", 0)),
    }
    min_p = chosen("min_p", None)
    return options if min_p is None else options | {"min_p": min_p}


def _logit_bias(body: SamplingFields, reader: PromptReader) -> dict[int, float]:
    bias = {}
    for token, value in (body.logit_bias or {}).items():
        if not re.fullmatch(DIGITS, token):
            raise InvalidRequestError(
                f"logit_bias: found {shown(token)}, must be a token id",
                param="logit_bias",
            )
        bias[int(token)] = value
    reader.check_token_ids(list(bias), param="logit_bias")
    return bias
