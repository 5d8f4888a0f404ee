"""What the server's port answers until vLLM serves: how far the start is.

vLLM opens its port when the model is ready, which can take an hour. This server has
it from the first moment, and then leaves it to vLLM: the same socket, so that a
connection that comes meanwhile waits, and none is refused.
"""

import asyncio
import contextlib
import json
import socket
import threading
from http import HTTPStatus
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from pykaito.runtime.hf.errors import NotReadyError
from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.hf.start_metrics import StartMetrics

#: Connections that the kernel keeps for who accepts them.
BACKLOG = 2048
#: Connections at a time; more are closed at once.
MOST = 256
#: Seconds that a client may take for all of a request.
PATIENCE = 5.0
#: Seconds in which who was accepted before the end may still ask, and a look at them.
LAST_CALL, LOOK = 1.0, 0.02
#: Bytes of a request's first line and headers.
LARGEST_HEAD = 1 << 16
#: Seconds after which it makes sense to ask again.
RETRY_AFTER = 5

HEALTH = frozenset({"/health", "/health/active"})


def listen(host: str, port: int) -> socket.socket:
    """Open the port, on IPv6 and IPv4 where no host is named.

    Raises:
        FlagError: that is not possible.
    """
    try:
        if not host and socket.has_dualstack_ipv6():
            # Compiled in but switched off, or the port is taken: the attempt below
            # tells the two apart.
            with contextlib.suppress(OSError):
                return _listen(socket.AF_INET6, host, port)
        return _listen(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise FlagError(
            f"--host, --port: cannot listen on {host or 'any address'} port {port}: "
            f"{why}"
        ) from error


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    dual = family == socket.AF_INET6
    # Of itself, the option below would let two servers share a port unnoticed.
    socket.create_server((host, port), family=family, dualstack_ipv6=dual).close()
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # vLLM binds a socket of its own, before it is given this one.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if dual:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


class StatusServer:
    """Answers on a socket, from a thread, until it is told to stop.

    Args:
        listener: the socket, which stays open.
        progress: what it tells of.
        metrics: those of the start.
    """

    def __init__(
        self, listener: socket.socket, progress: Progress, metrics: StartMetrics
    ) -> None:
        self._listener = listener
        self._progress = progress
        # Not the process's: its lock may be held when an engine is forked.
        self._registry = CollectorRegistry()
        self._registry.register(metrics)
        self._open = 0
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="status", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        self._serving.wait(timeout=10)

    def close(self) -> None:
        """Accept nothing more, answer who is asking, and drop who does not ask."""
        if self._loop is None or self._stop is None or not self._thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):  # it has ended meanwhile
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=5)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        # What it closes in the end is a copy; the socket itself goes on listening.
        server = await asyncio.start_server(
            self._exchange,
            sock=self._listener.dup(),
            limit=LARGEST_HEAD,
            backlog=BACKLOG,
        )
        self._serving.set()
        await self._stop.wait()
        # Not its context, which would wait for connections: those end with the loop.
        server.close()
        for _ in range(round(LAST_CALL / LOOK)):
            await asyncio.sleep(LOOK)
            if not self._open:
                break

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(PATIENCE):
                if self._open <= MOST:
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head.decode("latin-1")))
                    writer.write_eof()
                    # Closed while a body is still coming, it would be reset, and the
                    # client would not see the answer.
                    while await reader.read(LARGEST_HEAD):
                        pass
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            pass
        except asyncio.LimitOverrunError:
            pass
        except asyncio.CancelledError:
            # The loop ends, and nobody waits for this but Python 3.11, which would
            # log it as an error.
            pass
        finally:
            self._open -= 1
            writer.close()

    def _answer(self, head: str) -> bytes:
        method, _, rest = head.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        status, headers, body = self._content(path)
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers,
        }
        lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        text = "\r\n".join([*lines, "", ""]).encode()
        return text if method == "HEAD" else text + body

    def _content(self, path: str) -> tuple[HTTPStatus, dict[str, str], bytes]:
        if path == "/metrics":
            text = generate_latest(self._registry)
            return HTTPStatus.OK, {"Content-Type": CONTENT_TYPE_LATEST}, text
        if path in HEALTH:
            health = {"status": "Loading", **self._progress.report()}
            return HTTPStatus.SERVICE_UNAVAILABLE, {}, _json(health)
        error = NotReadyError(
            f"the model is loading ({self._progress.stage})", retry_after=RETRY_AFTER
        )
        return HTTPStatus.SERVICE_UNAVAILABLE, error.headers(), _json(error.body())


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()
