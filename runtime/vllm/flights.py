"""Which requests are on their way through the server."""

from collections.abc import Iterator
from contextlib import contextmanager


class Flights:
    """Tells whether all requests are answered that had come by some moment."""

    def __init__(self) -> None:
        self._next = 0
        self._open: set[int] = set()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold a request for as long as it is answered."""
        number = self._next
        self._next += 1
        self._open.add(number)
        try:
            yield
        finally:
            self._open.discard(number)

    def mark(self) -> int:
        """Return what stands for this moment."""
        return self._next

    def have_landed(self, mark: int) -> bool:
        """Whether every request is answered that had come by then."""
        return all(number >= mark for number in self._open)
