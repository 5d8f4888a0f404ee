"""Which requests are told to come back later."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Endpoints that occupy the engine.
PATHS = frozenset(
    {
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/chat/completions/batch",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/score",
        "/v1/systemone",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v2/embed",
        "/v2/rerank",
        "/cohere/v2/chat",
        "/inference/v1/generate",
        "/classify",
        "/generative_scoring",
        "/invocations",
        "/tokenize",
        "/pooling",
        "/score",
        "/rerank",
    }
)
#: Seconds until another try makes sense.
RETRY_AFTER = 5


class Admission:
    """Counts requests, and says which are too many.

    As many may wait as are served at once: more would time out before their turn, and
    another replica might have room.

    Args:
        at_once: requests that the engine serves at a time.
        waiting: those that wait in the engine, each of several prompts by itself.
    """

    def __init__(self, at_once: int, waiting: Callable[[], float]) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._in_flight = 0

    def is_full(self) -> bool:
        """Whether one more is too many."""
        return max(self._in_flight - self._at_once, self._waiting()) >= self._at_once

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request while the block runs."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1


def refusal(at_once: int) -> dict[str, object]:
    """Return the body of an answer to one that is too many."""
    message = (
        f"too many requests: {at_once} are served and as many wait; come "
        f"back in {RETRY_AFTER} seconds"
    )
    return {
        "error": {
            "message": message,
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
