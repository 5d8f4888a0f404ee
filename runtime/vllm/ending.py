"""Whether a server that ended had been told to, which vLLM does not say.

It ends its server in the same way where its engine is no more.
"""

import signal
from collections.abc import Callable
from typing import Any


class Ending:
    """Takes note of the signals by which vLLM's server is told to end."""

    def __init__(self) -> None:
        #: Whether an end now would be one that nobody asked for.
        self.premature = False

    def watch(self) -> None:
        """Stand before vLLM's own handlers, which are there once it serves."""
        self.premature = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._noting(signal.getsignal(number)))

    def _noting(self, handler: Any) -> Callable[[int, Any], None]:
        def note(number: int, frame: Any) -> None:
            self.premature = False
            if callable(handler):
                handler(number, frame)

        return note
