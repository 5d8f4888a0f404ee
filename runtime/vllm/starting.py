"""The start of this process's server, where vLLM's middleware finds it.

vLLM makes a middleware with nothing but the app that it stands before.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY

from pykaito.runtime.hf.progress import FIRST_TOKEN, Progress
from pykaito.runtime.hf.start_metrics import StartMetrics
from pykaito.runtime.vllm.ending import Ending
from pykaito.runtime.vllm.status_server import StatusServer

log = logging.getLogger(__name__)

#: Seconds that a first token may take; then probes find out what is wrong.
FIRST_TOKEN_SECONDS = 120.0


class ServerStart:
    """What is told of a start, and by whom.

    Args:
        listener: the server's socket.
        model_name: as metrics name the model.
    """

    def __init__(self, listener: socket.socket, model_name: str) -> None:
        self.listener = listener
        self.progress = Progress()
        self.ending = Ending()
        #: Is called in the server's thread when vLLM takes over.
        self.at_hand_over: Callable[[], None] = lambda: None
        self._metrics = StartMetrics(model_name, self.progress)
        self._status = StatusServer(listener, self.progress, self._metrics)

    async def finish(self, first_token: Callable[[], Awaitable[None]]) -> None:
        """Have a first token generated, then leave the port to vLLM.

        A model that generates none is served too: it is the probes that tell.
        """
        self.progress.begin(FIRST_TOKEN)
        try:
            async with asyncio.timeout(FIRST_TOKEN_SECONDS):
                await first_token()
        except Exception:
            log.exception("no first token")
        else:
            self.progress.finish()
        self.at_hand_over()
        self._status.close()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell of it while the block runs: on the port, until `finish` is called."""
        global _current  # noqa: PLW0603 - see above
        self._status.start()
        # What vLLM's server will answer for /metrics.
        REGISTRY.register(self._metrics)
        _current = self
        try:
            yield
        finally:
            _current = None
            REGISTRY.unregister(self._metrics)
            self._status.close()


_current: ServerStart | None = None


def current() -> ServerStart | None:
    """Return the start that goes on in this process."""
    return _current
