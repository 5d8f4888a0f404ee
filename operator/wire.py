"""Bytes to objects: how the API server frames what it sends.

Lines end at a newline byte and nowhere else. Text-mode line splitting also breaks
at U+0085 and its kin, which are legal inside JSON strings, and tears events apart.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from typing import Any

import orjson

from pykaito.operator.errors import ServerError, TransportError, error_from_status
from pykaito.operator.objects import WatchEvent

MAX_TEXT = 200
"""Characters of an unreadable answer that are quoted in the error."""

DEEPEST = 500
"""Containers inside each other that are read. The API server stores 10000 of them
where a schema leaves content alone; orjson reads 1024, and then nothing at all."""

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[]}]', re.DOTALL)


def loads(body: bytes) -> Any:
    """Return the JSON in `body`, with null for what is nested too deep.

    One object that somebody nested must not keep all others from being listed.
    JSONDecodeError when it is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "depth" not in str(error):
            raise
        return orjson.loads(b"".join(_shallow(body)))


def _shallow(body: bytes) -> Iterator[bytes]:
    """Yield the text without the containers below the deepest ones."""
    depth, kept_until = 0, 0
    for token in _TOKEN.finditer(body):
        if token[0] in b"[{":
            depth += 1
            if depth == DEEPEST + 1:
                yield body[kept_until : token.start()] + b"null"
        elif token[0] in b"]}":
            if depth == DEEPEST + 1:
                kept_until = token.end()
            depth -= 1
    yield body[kept_until:]


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; ServerError when it is none."""
    try:
        parsed = loads(body)
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
    kind, obj = event.get("type"), event.get("object")
    if not kind or not isinstance(obj, dict):
        raise ServerError(f"the watch sent no event: {line[:MAX_TEXT]!r}")
    if kind == "ERROR":
        raise error_from_status(obj)
    return WatchEvent(kind, obj)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After` header, None without a usable one.

    The API server sends whole seconds; dates, which HTTP also allows, are ignored.
    """
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
