"""Prompts as tokens: chat templates, plain text, and what the context holds."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pykaito.runtime.hf.errors import InvalidRequestError
from pykaito.runtime.hf.token_text import TokenText, token_text
from pykaito.runtime.hf.tool_form import ToolForm, tool_form


class PromptReader:
    """Turns text into tokens, beside the event loop: long texts take a while.

    Args:
        tokenizer: The model's.
        chat_template: Jinja source, or None if the model has none.
        context_length: Most tokens of prompt and answer together.
        vocabulary_size: Token ids are less than this.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        chat_template: str | None,
        context_length: int,
        vocabulary_size: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._chat_template = chat_template
        #: No token stands for more characters than it is written with.
        self._longest_token = max(map(len, tokenizer.get_vocab()))
        self.context_length = context_length
        self.vocabulary_size = vocabulary_size
        # One thread: tokenizers promise nothing about several.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokenize")
        self._tokens: dict[int, TokenText] = {}
        self._tool_form: ToolForm | None = None

    async def text(self, text: str, *, cut_beginning: bool = False) -> tuple[int, ...]:
        """Return the tokens of a plain text, as the model wants texts to begin.

        Args:
            text: The text.
            cut_beginning: Whether a text beyond the context may lose what is
                beyond it, rather than be refused.

        Raises:
            InvalidRequestError: if it is beyond the context by far.
        """
        if cut_beginning:
            text = text[-self.context_length * self._longest_token :]
        return await self._run(self._encode, text, "prompt", True)

    async def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        param: str = "messages",
    ) -> tuple[int, ...]:
        """Return the tokens of a conversation, up to where the answer begins.

        Args:
            messages: As chat templates know them.
            tools: What the model may call, as they know it.
            param: The field that the conversation came in.

        Raises:
            InvalidRequestError: if the model has no chat template, or the
                template refuses the conversation.
        """
        if self._chat_template is None:
            raise InvalidRequestError(
                "the model has no chat template: ask /v1/completions (or /chat with "
                "a prompt), or start the server with --chat_template",
                param=param,
                code="no_chat_template",
            )
        return await self._run(self._read_chat, messages, tools, param)

    async def tool_form(self) -> ToolForm:
        """Return how the model writes calls of tools.

        Raises:
            InvalidRequestError: if its chat template does not tell.
        """
        if self._tool_form is None and self._chat_template is not None:
            loop = asyncio.get_running_loop()
            find = partial(tool_form, self._render, self._visible)
            self._tool_form = await loop.run_in_executor(self._thread, find)
        if self._tool_form is None:
            raise InvalidRequestError(
                "tools: the model's chat template does not say how to call any, or not "
                "in JSON: leave them out, or serve a model that was made for tools",
                param="tools",
            )
        return self._tool_form

    def _visible(self, text: str) -> str:
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        return self.decode(ids, clean_up_spaces=False)

    def decode(self, token_ids: Sequence[int], *, clean_up_spaces: bool) -> str:
        """Return the text of tokens, less special tokens."""
        text: str = self._tokenizer.decode(
            list(token_ids),
            skip_special_tokens=True,
            clean_up_tokenization_spaces=clean_up_spaces,
        )
        return text

    def token(self, token_id: int) -> TokenText:
        """Return what one token stands for.

        A reply with log-probabilities asks for a hundred thousand, on the event loop.
        """
        found = self._tokens.get(token_id)
        if found is None:
            before = self._tokenizer.encode("a", add_special_tokens=False)
            found = token_text(self._tokenizer, token_id, before)
            self._tokens[token_id] = found
        return found

    def check_token_ids(self, token_ids: Sequence[int], *, param: str) -> None:
        """Raise `InvalidRequestError` if a token id is not the model's."""
        for token_id in token_ids:
            if not 0 <= token_id < self.vocabulary_size:
                raise InvalidRequestError(
                    f"{param}: found token id {token_id}, "
                    f"the model's are 0 to {self.vocabulary_size - 1}",
                    param=param,
                )

    def room(self, prompt: Sequence[int], *, param: str) -> int:
        """Return how many tokens the answer may have.

        Raises:
            InvalidRequestError: if there is no prompt, or it fills the context.
        """
        if not prompt:
            raise InvalidRequestError(
                f"{param}: found an empty prompt, must have one token or more",
                param=param,
            )
        if len(prompt) >= self.context_length:
            raise InvalidRequestError(
                f"{param}: found {len(prompt)} tokens, the model's context holds "
                f"{self.context_length}, the answer included: shorten it",
                param=param,
                code="context_length_exceeded",
            )
        return self.context_length - len(prompt)

    def max_new_tokens(
        self, prompt: Sequence[int], wanted: int | None, *, param: str, field: str
    ) -> int:
        """Return how many tokens to generate; all there is room for if not said.

        Args:
            prompt: The prompt's tokens.
            wanted: What the client asked for.
            param: The field the prompt came in.
            field: The field the wish came in.
        """
        room = self.room(prompt, param=param)
        if wanted is None:
            return room
        if wanted > room:
            raise InvalidRequestError(
                f"{field}: found {wanted}, but {len(prompt)} tokens of prompt leave "
                f"room for {room} in the model's context of {self.context_length}",
                param=field,
                code="context_length_exceeded",
            )
        return wanted

    async def _run(self, function: Any, *arguments: Any) -> tuple[int, ...]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._thread, function, *arguments)
        return tuple(found)

    def _encode(self, text: str, param: str, special: bool) -> list[int]:
        least = len(text) // self._longest_token
        if least > self.context_length:
            # Megabytes take the tokenizer seconds, and everyone else waits.
            raise InvalidRequestError(
                f"{param}: found {len(text)} characters, which are {least} tokens or "
                f"more, the model's context holds {self.context_length}: shorten it",
                param=param,
                code="context_length_exceeded",
            )
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special)
        if max(ids, default=0) >= self.vocabulary_size:
            # A tokenizer can have more tokens than its model was made for.
            self.check_token_ids(ids, param=param)
        return ids

    def _read_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        param: str,
    ) -> list[int]:
        try:
            text = self._render(messages, tools or None, True)
            text.encode()
        except Exception as error:  # a template is a program: it may raise anything
            raise InvalidRequestError(
                f"{param}: the model's chat template refuses them: {error}",
                param=param,
            ) from error
        # The template writes the special tokens itself.
        return self._encode(text, param, False)

    def _render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Any] | None,
        begin_answer: bool,
    ) -> str:
        text: str = self._tokenizer.apply_chat_template(
            list(messages),
            tools=tools,
            chat_template=self._chat_template,
            add_generation_prompt=begin_answer,
            tokenize=False,
        )
        return text
