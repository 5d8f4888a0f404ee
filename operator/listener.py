"""A small HTTP listener: probes, metrics, webhooks."""

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import final

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.Response]]

# A probe or a scrape needs no body, and none is read.
_SMALL = 1024


@final
class HttpListener:
    """Serves handlers by path on all interfaces, without access logs.

    Args:
        port: the TCP port; 0 for a free one, told by `port` once started.
        routes: the handler of each path.
        method: the only HTTP method that is answered.
        max_body: the longest body that a handler can read, in bytes.
        close_timeout: how long a request in flight may take when the listener
            stops, in seconds.
        tls: serves HTTPS with the context, None HTTP.
    """

    def __init__(
        self,
        port: int,
        routes: Mapping[str, Handler],
        *,
        method: str = "GET",
        max_body: int = _SMALL,
        close_timeout: float = 1.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._wanted_port = port
        self._routes = dict(routes)
        self._method = method
        self._max_body = max_body
        self._close_timeout = close_timeout
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._bound_port = 0

    @property
    def port(self) -> int:
        """The bound port; 0 until started."""
        return self._bound_port

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            OSError: the port cannot be bound; the message names it.
        """
        app = web.Application(client_max_size=self._max_body)
        for path, handler in self._routes.items():
            app.router.add_route(self._method, path, handler)
        bound = _bind(self._wanted_port)
        self._bound_port = bound.getsockname()[1]
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=self._close_timeout
        )
        await self._runner.setup()
        await web.SockSite(self._runner, bound, ssl_context=self._tls).start()

    async def stop(self) -> None:
        """Close the port; harmless when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


def _bind(port: int) -> socket.socket:
    """Listen on IPv6 and IPv4 with one socket, or on IPv4 where IPv6 is off."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True
            )
        except OSError:
            # Compiled in but switched off, or the port is taken: the IPv4
            # attempt tells the two apart.
            pass
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on port {port}: {error}") from error
