"""Whether a server that ended had been told to, which vLLM does not say.

It ends its server in the same way where its engine is no more.
"""

import signal
from collections.abc import Callable
from typing import Any


class Ending:
    """Takes note of the signals by which vLLM's server is told to end."""

    def __init__(self) -> None:
        #: Whether the server was told to end.
        self.told = False
        self._watching = False

    @property
    def premature(self) -> bool:
        """Whether an end now would be one that nobody asked for."""
        return self._watching and not self.told

    def watch(self) -> None:
        """Stand before vLLM's own handlers, which are there once it serves."""
        self._watching = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._noting(signal.getsignal(number)))

    def _noting(self, handler: Any) -> Callable[[int, Any], None]:
        def note(number: int, frame: Any) -> None:
            self.told = True
            if callable(handler):
                handler(number, frame)

        return note
