"""What passes before any endpoint sees a request."""

from collections.abc import MutableMapping
from typing import Any

from pykaito.runtime.hf.gate import Gate
from pykaito.runtime.hf.lifecycle import Lifecycle

SCOPE = {"type": "http", "method": "POST", "headers": []}


async def test_a_refused_requests_body_is_read_before_its_connection_is_closed() -> (
    None
):
    story: list[Any] = []
    parts = [{"type": "http.request", "body": b"{", "more_body": True}]
    parts += [{"type": "http.request", "body": b"}", "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        part = parts.pop(0)
        story.append(part["body"])
        return part

    async def send(message: MutableMapping[str, Any]) -> None:
        story.append(message.get("status", "the answer's body"))

    async def app(*_: Any) -> None:
        story.append("served")

    lifecycle = Lifecycle()
    lifecycle.drain()
    await Gate(app, lifecycle=lifecycle, max_bytes=10)(dict(SCOPE), receive, send)
    assert story == [b"{", b"}", 503, "the answer's body"]
