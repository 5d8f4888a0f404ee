"""A small HTTP listener for probes and metrics."""

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import final

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.Response]]

# A probe or a scrape in flight gets this long at shutdown, in seconds.
_CLOSE_TIMEOUT = 1.0


@final
class HttpListener:
    """Serves GET handlers by path on all interfaces, without access logs.

    Args:
        port: the TCP port; 0 for a free one, told by `port` once started.
        routes: the handler of each path.
    """

    def __init__(self, port: int, routes: Mapping[str, Handler]) -> None:
        self._wanted_port = port
        self._routes = dict(routes)
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
        app = web.Application()
        for path, handler in self._routes.items():
            app.router.add_get(path, handler)
        bound = _bind(self._wanted_port)
        self._bound_port = bound.getsockname()[1]
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_CLOSE_TIMEOUT
        )
        await self._runner.setup()
        await web.SockSite(self._runner, bound).start()

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
