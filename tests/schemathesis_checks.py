"""What schemathesis checks besides its own; it imports this file as its hooks."""

import json
import os
from pathlib import Path

import schemathesis

#: Where the replies are counted, one a line: method, path and status.
SEEN = "SCHEMATHESIS_SEEN"


@schemathesis.check
def a_stream_has_an_end(
    ctx: schemathesis.CheckContext,
    response: schemathesis.Response,
    case: schemathesis.Case,
) -> None:
    """Hold a stream to what no schema of its events says."""
    del ctx, case
    if "text/event-stream" not in response.headers.get("content-type", [""])[0]:
        return
    *events, done, end = response.content.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    last = json.loads(events[-1].removeprefix("data: "))
    assert "error" in last or "usage" in last or last["choices"][0]["finish_reason"]


@schemathesis.check
def every_reply_is_counted(
    ctx: schemathesis.CheckContext,
    response: schemathesis.Response,
    case: schemathesis.Case,
) -> None:
    """Note what was answered, so that a test can ask whether enough was."""
    del ctx
    with Path(os.environ[SEEN]).open("a", encoding="utf-8") as seen:
        seen.write(f"{case.method} {case.operation.path} {response.status_code}\n")
