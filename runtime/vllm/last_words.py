"""Why an engine ended: by what its processes say, since their parent is not told.

vLLM runs the model in processes of their own. Where one of these fails, the server
ends with the advice to look above.
"""

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

STDERR = 2

#: An exception at the end of a traceback, after what a logger puts before it.
_ERROR = re.compile(r"(?:^|\] )([A-Za-z_][\w.]*(?:Error|Exception): .*\S)")
#: One that tells of another.
_FOLLOWS = re.compile(r"(root cause|stack trace|initialization failed)", re.IGNORECASE)


class LastWords:
    """Remembers the last exception among lines."""

    def __init__(self) -> None:
        self.error = ""

    def hear(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the lines as they are."""
        for line in lines:
            found = _ERROR.search(line)
            if found and not _FOLLOWS.search(line):
                self.error = found[1]
            yield line


@contextmanager
def listening() -> Iterator[LastWords]:
    """Hear what this process and its children write to standard error meanwhile."""
    words = LastWords()
    outlet = os.dup(STDERR)
    source, sink = os.pipe()
    os.dup2(sink, STDERR)
    os.close(sink)
    listener = threading.Thread(target=_pass_on, args=(source, outlet, words))
    listener.daemon = True
    listener.start()
    try:
        yield words
    finally:
        os.dup2(outlet, STDERR)
        # Unless a child is still there, everything has been said by then.
        listener.join(timeout=5)


def _pass_on(source: int, outlet: int, words: LastWords) -> None:
    with os.fdopen(source, errors="replace") as lines:
        for line in words.hear(lines):
            os.write(outlet, line.encode())
