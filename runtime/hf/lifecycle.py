"""Whether the server may take requests, and which are on their way through it."""

import asyncio
import enum
from collections.abc import Iterable, Mapping
from typing import Any

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.engine import Engine
from pykaito.runtime.hf.errors import NotReadyError
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.hf.prompts import PromptReader


class Phase(enum.Enum):
    """Where the server is in its life. The values are what ``/health`` says."""

    LOADING = "Loading"
    READY = "Healthy"
    DRAINING = "Draining"


class Lifecycle:
    """The server's state. Used on the event loop's thread only."""

    def __init__(self) -> None:
        self.phase = Phase.LOADING
        #: What is being loaded.
        self.progress = Progress()
        self._engine: Engine | None = None
        self._reader: PromptReader | None = None
        #: How the model's makers want tokens chosen, where a request is silent.
        self.defaults: Mapping[str, Any] = {}
        #: Those that a request may ask for alone, by their names.
        self.adapters: Mapping[str, Adapter] = {}
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def ready(
        self,
        engine: Engine,
        reader: PromptReader,
        defaults: Mapping[str, Any],
        adapters: Iterable[Adapter],
    ) -> None:
        """Take requests from now on, unless the server is to end already."""
        self._engine = engine
        self._reader = reader
        self.defaults = defaults
        self.adapters = {adapter.name: adapter for adapter in adapters}
        if self.phase is Phase.LOADING:
            self.phase = Phase.READY

    def drain(self) -> None:
        """Take no new requests; those in flight go on."""
        self.phase = Phase.DRAINING

    async def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is in flight; return False if it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    @property
    def engine(self) -> Engine | None:
        """The engine, once there is one."""
        return self._engine

    @property
    def ready_engine(self) -> Engine:
        """The engine; raises `NotReadyError` while it may not be used."""
        self.check()
        if self._engine is None:
            raise NotReadyError("the model is not loaded yet")
        return self._engine

    @property
    def reader(self) -> PromptReader:
        """What turns text into tokens; raises `NotReadyError` as the engine does."""
        self.check()
        if self._reader is None:
            raise NotReadyError("the model is not loaded yet")
        return self._reader

    @property
    def failure(self) -> str | None:
        """Why the server must be restarted, or None."""
        return None if self._engine is None else self._engine.failure

    def check(self) -> None:
        """Raise `NotReadyError` if no request may be taken."""
        if self.phase is Phase.LOADING:
            raise NotReadyError(
                f"the model is loading ({self.progress.stage})", retry_after=5
            )
        if self.phase is Phase.DRAINING:
            raise NotReadyError("the server is shutting down", retry_after=1)
        if self.failure is not None:
            raise NotReadyError(f"the server must restart: {self.failure}")

    def enter(self) -> None:
        """Count a request in."""
        self._in_flight += 1
        self._idle.clear()

    def leave(self) -> None:
        """Count it out again, whatever became of it."""
        self._in_flight -= 1
        if self._in_flight == 0:
            self._idle.set()
