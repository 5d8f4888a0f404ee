"""Bytes to objects: how the API server frames what it sends.

Lines end at a newline byte and nowhere else. Text-mode line splitting also breaks
at U+0085 and its kin, which are legal inside JSON strings, and tears events apart.
"""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import orjson

from pykaito.operator.errors import ServerError, TransportError, error_from_status
from pykaito.operator.objects import WatchEvent

MAX_TEXT = 200
"""Characters of an unreadable answer that are quoted in the error."""


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; ServerError when it is none."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ServerError(
            f"the answer is no JSON ({error}): {body[:MAX_TEXT]!r}"
        ) from None
    if not isinstance(parsed, dict):
        raise ServerError(f"the answer is no JSON object: {body[:MAX_TEXT]!r}")
    return parsed


async def lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the newline-terminated lines of a stream, empty ones left out.

    Raises:
        TransportError: the stream ended inside a line.
    """
    rest = b""
    async for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            if line:
                yield line
    if rest:
        raise TransportError(f"the stream ended inside a line: {rest[:MAX_TEXT]!r}")


def watch_event(line: bytes) -> WatchEvent:
    """Return the event in one line of a watch.

    Raises:
        ApiError: the event is an ERROR; the subclass says which.
    """
    event = decode(line)
    if event.get("type") == "ERROR":
        raise error_from_status(event.get("object") or {})
    return WatchEvent(event["type"], event["object"])


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After` header, None without a usable one.

    The API server sends whole seconds; dates, which HTTP also allows, are ignored.
    """
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
