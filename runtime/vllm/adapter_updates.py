"""Follows the list of adapters while the server runs."""

import asyncio
import contextlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from prometheus_client import Counter, Gauge
from starlette.types import ASGIApp, Receive, Scope, Send

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.vllm.adapter_start import LIST_VARIABLE, is_here, read_list
from pykaito.runtime.vllm.adapters import Lora, prepare
from pykaito.runtime.vllm.environment import ADAPTERS_FOLDER
from pykaito.runtime.vllm.flights import Flights
from pykaito.runtime.vllm.served_adapters import ServedAdapters

log = logging.getLogger(__name__)

#: Seconds between two looks at the list; the kubelet takes a minute to bring it.
LOOK_SECONDS = 3

STRENGTH = Gauge(
    "kaito_adapter_strength",
    "How strong each adapter is that is served.",
    ["adapter"],
)
FAILED = Counter(
    "kaito_adapter_updates_failed_total",
    "Changes of the list of adapters, or of one of them, that were not taken up.",
)


class AdapterUpdates:
    """Runs beside vLLM's server, and watches the requests to it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._flights = Flights()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass; follow the list for as long as the app lives."""
        if scope["type"] != "lifespan":
            with self._flights.enter():
                await self._app(scope, receive, send)
            return
        from vllm.lora.request import LoRARequest  # noqa: PLC0415 - a test has no vLLM

        served = ServedAdapters(scope["app"].state, self._flights, LoRARequest)
        folder = Path(os.environ[ADAPTERS_FOLDER])
        path = Path(os.environ[LIST_VARIABLE])
        scratch = Path(tempfile.gettempdir(), "adapters")
        follower = Follower(
            lambda: read_list(path, folder),
            lambda adapter: prepare([adapter], scratch)[0],
            served,
        )
        following = asyncio.create_task(follower.follow())
        try:
            await self._app(scope, receive, send)
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


class Follower:
    """Brings what is served to what is listed.

    Args:
        read: returns what is listed.
        ready: checks an adapter's files and scales them.
        served: what vLLM serves.
    """

    def __init__(
        self,
        read: Callable[[], tuple[Adapter, ...]],
        ready: Callable[[Adapter], Lora],
        served: ServedAdapters,
    ) -> None:
        self._read = read
        self._ready = ready
        self._served = served
        self._seen: tuple[Adapter, ...] | str | None = None
        #: What is to be served, by name; None for what stays as it is.
        self._wanted: dict[str, Lora | None] | None = None
        self._strengths: dict[str, float] = {}
        #: Those that are told to wait, by name.
        self._waiting: set[str] = set()

    async def follow(self) -> None:
        """Look at the list now and then, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                FAILED.inc()
                log.exception("the adapters could not be looked after")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Take up what has changed. What cannot be taken up is told once."""
        await self._served.release()
        try:
            listed: tuple[Adapter, ...] | str = self._read()
        except FlagError as error:
            listed = str(error)
        if listed != self._seen:
            self._seen = listed
            await self._want(listed)
        if self._wanted is not None:
            await self._apply(self._wanted)

    async def _want(self, listed: tuple[Adapter, ...] | str) -> None:
        """Settle what is to be served; as before where the list is malformed."""
        if isinstance(listed, str):
            self._fail(listed)
            return
        self._strengths = {adapter.name: adapter.strength for adapter in listed}
        self._wanted = {
            adapter.name: await asyncio.to_thread(self._prepare, adapter)
            for adapter in listed
        }

    async def _apply(self, wanted: dict[str, Lora | None]) -> None:
        for name in self._served.folders():
            if name not in wanted:
                await self._served.unload(name)
                log.info("adapter removed", extra={"adapter": name})
                with contextlib.suppress(KeyError):
                    STRENGTH.remove(name)
        for name, lora in wanted.items():
            if lora is not None and not await self._serves(lora):
                wanted[name] = None

    async def _serves(self, lora: Lora) -> bool:
        """Serve an adapter as soon as there is room; return False if it cannot be."""
        name = lora.name
        if self._served.folders().get(name) != str(lora.folder):
            if not self._served.has_room():
                if name not in self._waiting:
                    log.warning("an adapter waits for a slot", extra={"adapter": name})
                self._waiting.add(name)
                return True
            self._waiting.discard(name)
            try:
                await self._served.load(lora)
            except Exception as error:  # noqa: BLE001 - whatever vLLM's engine raised
                self._fail(f"adapter {name!r}: vLLM does not load it: {error}")
                return False
            log.info("adapter loaded", extra={"adapter": name})
        STRENGTH.labels(name).set(self._strengths[name])
        return True

    def _prepare(self, adapter: Adapter) -> Lora | None:
        if not is_here(adapter):
            return None
        try:
            return self._ready(adapter)
        except (LoadError, OSError) as error:
            self._fail(str(error))
            return None

    def _fail(self, why: str) -> None:
        FAILED.inc()
        log.error("what is served stays as it is", extra={"error": why})
