"""Why an engine ended: by what its processes say, since their parent is not told.

vLLM runs the model in processes of their own. Where one of these fails, the server
ends with the advice to look above.
"""

import os
import re
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

STDERR = 2

#: Of a line, or of a state of a progress bar.
_END = re.compile(rb"[\r\n]")

#: An exception at the end of a traceback, after what a logger puts before it.
_ERROR = re.compile(r"(?:^|\] )([A-Za-z_][\w.]*(?:Error|Exception): .*\S)")
#: One that tells of another.
_FOLLOWS = re.compile(r"(root cause|stack trace|initialization failed)", re.IGNORECASE)
#: What the server's own process says, of requests above all; what ends it is raised.
_SERVER = "(APIServer "

#: Seconds after which an exception is not why an engine ends.
STALE = 300.0

#: Bytes that are read at a time.
PIECE = 1 << 16
#: Bytes of a line beyond which its beginning is forgotten.
LONGEST_LINE = 1 << 16
#: Bytes of a line that are heard. Clients can have lines of any length written.
HEARD = 4096


class LastWords:
    """Remembers the last exception among lines.

    Args:
        clock: seconds, from any moment on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._error = ""
        self._heard = 0.0

    @property
    def error(self) -> str:
        """The exception; empty where there is none that is not long past."""
        return self._error if self._clock() - self._heard < STALE else ""

    def hear(self, line: str) -> None:
        """Take a line into account."""
        if line.startswith(_SERVER):
            return
        found = _ERROR.search(line)
        if found and not _FOLLOWS.search(line):
            self._error, self._heard = found[1], self._clock()


@contextmanager
def listening(*ears: Callable[[str], None]) -> Iterator[None]:
    """Hear what this process and its children write to standard error meanwhile.

    Args:
        ears: each is called with every line, of a progress bar too, on a thread.
    """
    outlet = os.dup(STDERR)
    source, sink = os.pipe()
    over, end = os.pipe()
    os.dup2(sink, STDERR)
    os.close(sink)
    listener = threading.Thread(target=_pass_on, args=(source, over, outlet, ears))
    listener.daemon = True
    listener.start()
    try:
        yield
    finally:
        os.dup2(outlet, STDERR)
        # Not before all is passed on that was said by now; a child that is still
        # there, as multiprocessing's helpers are, is not waited for.
        os.close(end)
        listener.join(timeout=5)


def _pass_on(
    source: int, over: int, outlet: int, ears: Sequence[Callable[[str], None]]
) -> None:
    waiting = select.poll()
    for pipe in (source, over):
        waiting.register(pipe, select.POLLIN)
    line = b""
    while any(pipe == source for pipe, _ in waiting.poll()):
        if not (piece := os.read(source, PIECE)):
            break
        os.write(outlet, piece)
        *lines, line = _END.split(line + piece)
        line = line[-LONGEST_LINE:]
        for one in lines:
            for ear in ears:
                # Whatever it makes of it: who writes would wait for ever for who reads.
                with suppress(Exception):
                    ear(one[:HEARD].decode(errors="replace"))
    os.close(source)
    os.close(over)
