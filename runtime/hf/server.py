"""The process: port, loading, signals, drain, exit."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.app import build_app
from pykaito.runtime.hf.flags import FlagError, Settings
from pykaito.runtime.hf.lifecycle import Lifecycle
from pykaito.runtime.hf.lora_files import read_adapter
from pykaito.runtime.hf.model_source import find_model

if TYPE_CHECKING:
    from pykaito.runtime.hf.start_engine import StartedEngine

log = logging.getLogger(__name__)

#: Seconds that replies get to say they were cut off, after the drain.
LAST_WORDS = 2.0

#: Seconds a connection may idle. Longer than clients keep theirs (httpx, and so
#: openai: 5): who reuses one that is just being closed gets no reply.
KEEP_ALIVE = 75


class _Server(uvicorn.Server):
    """uvicorn, leaving signals to us: it would close the port before draining."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(settings: Settings) -> socket.socket:
    """Open the port, on IPv6 and IPv4 where no host is named.

    Raises:
        FlagError: if that is not possible.
    """
    host, port = settings.host, settings.port
    try:
        listener = _listen(host, port)
    except OSError as error:
        raise FlagError(
            f"--host, --port: cannot listen on {host or 'any address'} port {port}: "
            f"{error.strerror}"
        ) from error
    # Connections inherit it. asyncio sets it on sockets that name their protocol only,
    # and without it a reply waits up to 40 ms for the acknowledgement of its headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _listen(host: str, port: int) -> socket.socket:
    open_on = partial(socket.create_server, (host, port), backlog=2048)
    if not host and socket.has_dualstack_ipv6():
        # Compiled in but switched off, or the port is taken: the attempt below tells
        # the two apart.
        with contextlib.suppress(OSError):
            return open_on(family=socket.AF_INET6, dualstack_ipv6=True)
    return open_on(family=socket.AF_INET6 if ":" in host else socket.AF_INET)


async def serve(
    settings: Settings, adapters: Sequence[Adapter], listener: socket.socket
) -> None:
    """Serve until a signal says to end; SIGTERM and SIGINT drain, twice is at once.

    Raises:
        LoadError: if the model cannot be served.
    """
    lifecycle = Lifecycle()
    server = _Server(
        uvicorn.Config(
            build_app(settings, lifecycle),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(LAST_WORDS),
            timeout_keep_alive=KEEP_ALIVE,
        )
    )
    log.info("listening", extra={"address": listener.getsockname()[:2]})
    signals = _Signals()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    loading = asyncio.create_task(_load(settings, adapters, lifecycle))
    stopping = asyncio.create_task(signals.first.wait())
    try:
        await _any_of(loading, stopping, serving)
        if loading.done():
            loading.result()
            await _any_of(stopping, serving)
        await _drain(settings, lifecycle, signals)
    finally:
        stopping.cancel()
        loading.cancel()
        server.should_exit = True
        await serving


class _Signals:
    """SIGTERM and SIGINT as events: the first, and the one that insists."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, number)

    def _received(self, number: signal.Signals) -> None:
        log.info("signal", extra={"signal": number.name})
        if self.first.is_set():
            self.second.set()
        self.first.set()


async def _any_of(*tasks: "asyncio.Task[Any]") -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _load(
    settings: Settings, adapters: Sequence[Adapter], lifecycle: Lifecycle
) -> None:
    """Load on a thread of its own, which dies with the process if need be."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[StartedEngine] = loop.create_future()

    def succeed(started: "StartedEngine") -> None:
        if not loaded.cancelled():
            loaded.set_result(started)

    def fail(error: Exception) -> None:
        if not loaded.cancelled():
            loaded.set_exception(error)

    def work() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            try:
                model = find_model(settings.pretrained_model_name_or_path)
                found = replace(settings, pretrained_model_name_or_path=model)
                files = [read_adapter(adapter) for adapter in adapters]
                lifecycle.progress.begin("importing torch and transformers")
                from pykaito.runtime.hf.start_engine import start_engine  # noqa: PLC0415 - takes seconds, with the port open

                started = start_engine(found, lifecycle.progress, files)
            except Exception as error:  # noqa: BLE001 - told to the one who waits
                loop.call_soon_threadsafe(fail, error)
            else:
                loop.call_soon_threadsafe(succeed, started)

    begun = loop.time()
    threading.Thread(target=work, name="load", daemon=True).start()
    started = await loaded
    lifecycle.ready(started.engine, started.reader, started.defaults, started.adapters)
    log.info("ready", extra={"seconds": round(loop.time() - begun, 1)})


async def _drain(settings: Settings, lifecycle: Lifecycle, signals: _Signals) -> None:
    """Let what is in flight end; cut off what does not in time."""
    lifecycle.drain()
    log.info("draining", extra={"timeout": settings.drain_timeout})
    idle = asyncio.create_task(lifecycle.wait_idle(settings.drain_timeout))
    insisted = asyncio.create_task(signals.second.wait())
    try:
        await _any_of(idle, insisted)
        drained = idle.done() and idle.result()
    finally:
        idle.cancel()
        insisted.cancel()
    if lifecycle.engine is not None:
        lifecycle.engine.close()
    if not drained:
        log.warning("requests were cut off")
        await lifecycle.wait_idle(LAST_WORDS)
