"""The transformers runtime's batch and transformers' ``generate``, without servers.

For machines that have torch and transformers alone: both run one model in this
process, the one requests as they come, the other one after the other, as
``transformers serve`` does.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hack.bench.traffic import Answer, Clock, Load, load, prompt
from pykaito.runtime.hf.batch_engine import BatchEngine
from pykaito.runtime.hf.engine import GenerationRequest
from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.loading import LoadedModel, load_model
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.hf.start_engine import start_runner

BATCH = "pykaito (batch, no HTTP)"
GENERATE = "transformers generate, one at a time"

_END_SECONDS = 60


class _GivenUpError(Exception):
    """Raised inside ``generate`` to leave it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that share the runtime's batch."""

    engine: BatchEngine
    loaded: LoadedModel
    words: int
    tokens: int
    name: str = BATCH
    alone: bool = False

    def measure(self, *, requests: int, at_once: int, limit: float) -> Load:
        """Send requests; see `load`."""
        sending = load(self._ask, requests=requests, at_once=at_once, limit=limit)
        try:
            return asyncio.run(sending)
        finally:
            self._wait_until_idle()

    def _wait_until_idle(self) -> None:
        """Wait for the step that requests were given up in: it has the model."""
        deadline = time.monotonic() + _END_SECONDS
        while self.engine.running or self.engine.waiting:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the batch was not idle after {_END_SECONDS} s")
            time.sleep(0.01)

    async def _ask(self, seed: int) -> Answer:
        tokens = _prompt_tokens(self.loaded, seed, self.words)
        clock = Clock()
        generation = self.engine.submit(
            GenerationRequest(
                id=str(seed),
                prompt=tuple(tokens),
                max_new_tokens=self.tokens,
                options={"do_sample": False},
            )
        )
        try:
            async for _ in generation.chunks():
                clock.tick()
        finally:
            generation.cancel()
        return clock.answer(prompt_tokens=len(tokens), tokens=self.tokens)


@dataclass(frozen=True, slots=True)
class Generate:
    """Requests that wait for each other."""

    loaded: LoadedModel
    words: int
    tokens: int
    name: str = GENERATE
    alone: bool = True

    def measure(self, *, requests: int, at_once: int, limit: float) -> Load:
        """Send requests; see `load`."""

        async def send() -> Load:
            turn = asyncio.Lock()
            return await load(
                lambda seed: self._ask(seed, turn),
                requests=requests,
                at_once=at_once,
                limit=limit,
            )

        return asyncio.run(send())

    async def _ask(self, seed: int, turn: asyncio.Lock) -> Answer:
        tokens = _prompt_tokens(self.loaded, seed, self.words)
        streamer = _Streamer()
        async with turn:
            try:
                await asyncio.to_thread(self._generate, tokens, streamer)
            finally:
                streamer.given_up.set()
        return streamer.clock.answer(prompt_tokens=len(tokens), tokens=self.tokens)

    def _generate(self, tokens: Sequence[int], streamer: "_Streamer") -> None:
        given = torch.tensor([tokens], device=self.loaded.device)
        try:
            self.loaded.model.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=self.tokens,
                do_sample=False,
                streamer=streamer,
            )
        except _GivenUpError:
            return


class _Streamer:
    """What ``generate`` hands the prompt, then each token to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.given_up = threading.Event()
        self._prompt = True

    def put(self, _tokens: Any) -> None:
        """Note the time of a token."""
        if self.given_up.is_set():
            raise _GivenUpError
        if not self._prompt:
            self.clock.tick()
        self._prompt = False

    def end(self) -> None:
        """Nothing comes any more."""


@contextmanager
def engines(
    model: Path, flags: Sequence[str], *, words: int, tokens: int
) -> Iterator[tuple[Batch, Generate]]:
    """Load a model, and let it go at the end.

    Args:
        model: Its folder.
        flags: More of the runtime's command line.
        words: Of each prompt.
        tokens: Of each answer.

    Raises:
        RuntimeError: It does not run in a batch.
    """
    settings = parse_flags([f"--pretrained_model_name_or_path={model}", *flags])
    loaded = load_model(settings, Progress())
    runner = start_runner(settings, loaded)
    if runner is None:
        raise RuntimeError("the model does not run in a batch: the log says why")
    engine = BatchEngine(
        loaded,
        runner,
        max_running=settings.max_num_seqs,
        max_waiting=settings.max_queue,
    )
    try:
        yield (
            Batch(engine, loaded, words, tokens),
            Generate(loaded, words, tokens),
        )
    finally:
        engine.close()
        engine.join(_END_SECONDS)


def _prompt_tokens(loaded: LoadedModel, seed: int, words: int) -> list[int]:
    tokens: list[int] = loaded.tokenizer(prompt(seed, words)).input_ids
    return tokens
