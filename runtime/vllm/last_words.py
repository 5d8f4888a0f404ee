"""Why an engine ended: by what its processes say, since their parent is not told.

vLLM runs the model in processes of their own. Where one of these fails, the server
ends with the advice to look above.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

STDERR = 2

#: Of a line, or of a state of a progress bar.
_END = re.compile(rb"[\r\n]")

#: An exception at the end of a traceback, after what a logger puts before it.
_ERROR = re.compile(r"(?:^|\] )([A-Za-z_][\w.]*(?:Error|Exception): .*\S)")
#: One that tells of another.
_FOLLOWS = re.compile(r"(root cause|stack trace|initialization failed)", re.IGNORECASE)


#: Bytes that are read at a time.
PIECE = 1 << 16
#: Bytes of a line beyond which its beginning is forgotten.
LONGEST_LINE = 1 << 16


class LastWords:
    """Remembers the last exception among lines."""

    def __init__(self) -> None:
        self.error = ""

    def hear(self, line: str) -> None:
        """Take a line into account."""
        found = _ERROR.search(line)
        if found and not _FOLLOWS.search(line):
            self.error = found[1]


@contextmanager
def listening(*ears: Callable[[str], None]) -> Iterator[None]:
    """Hear what this process and its children write to standard error meanwhile.

    Args:
        ears: each is called with every line, of a progress bar too, on a thread.
    """
    outlet = os.dup(STDERR)
    source, sink = os.pipe()
    os.dup2(sink, STDERR)
    os.close(sink)
    listener = threading.Thread(target=_pass_on, args=(source, outlet, ears))
    listener.daemon = True
    listener.start()
    try:
        yield
    finally:
        os.dup2(outlet, STDERR)
        # Unless a child is still there, everything has been said by then.
        listener.join(timeout=5)


def _pass_on(source: int, outlet: int, ears: Sequence[Callable[[str], None]]) -> None:
    line = b""
    while piece := os.read(source, PIECE):
        os.write(outlet, piece)
        *lines, line = _END.split(line + piece)
        line = line[-LONGEST_LINE:]
        for one in lines:
            for ear in ears:
                ear(one.decode(errors="replace"))
    os.close(source)
