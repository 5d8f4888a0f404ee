"""What can go wrong with a request, and how a client is told.

    ApiError
    ├── InvalidRequestError     400  the client's fault: change the request
    ├── ModelNotFoundError      404  the model's name is not the one served
    ├── BodyTimeoutError        408
    ├── BodyTooLargeError       413
    ├── QueueFullError          429  come back after `retry_after` seconds
    ├── EngineError             500  the server's fault
    ├── NotReadyError           503  loading, draining, or failed
    └── RequestTimeoutError     504  `--request_timeout` has passed

The body is OpenAI's: ``{"error": {"message", "type", "param", "code"}}``.
"""

import difflib
import math
from collections.abc import Iterable
from typing import Any, ClassVar


class ApiError(Exception):
    """A reply other than 200.

    Args:
        message: For a person: what was found and what would be right.
        param: The field at fault, dotted (``generate_kwargs.top_k``).
        retry_after: Seconds until another try makes sense.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """Return the reply's body."""
        error = {"message": self.message, "type": self.type}
        return {"error": error | {"param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Return the headers that go with the body."""
        if self.retry_after is None:
            return {}
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


class InvalidRequestError(ApiError):
    """The request cannot be served as it is."""

    status = 400
    type = "invalid_request_error"


class ModelNotFoundError(ApiError):
    """The request names a model that is not served here."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class BodyTimeoutError(ApiError):
    """The body took too long to arrive."""

    status = 408
    type = "invalid_request_error"
    code = "body_timeout"


class BodyTooLargeError(ApiError):
    """The body is larger than ``--max_request_bytes``."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class QueueFullError(ApiError):
    """``--max_queue`` requests are waiting already."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"


class EngineError(ApiError):
    """The generation failed for a reason that is not the request's."""

    code = "generation_failed"


class NotReadyError(ApiError):
    """The server is loading, draining or broken."""

    status = 503
    type = "service_unavailable_error"
    code = "not_ready"


class RequestTimeoutError(ApiError):
    """The request took longer than ``--request_timeout``."""

    status = 504
    type = "timeout_error"
    code = "request_timeout"


#: Characters of a client's own words that a message repeats.
SHOWN = 60


def shown(value: Any) -> str:
    """Return what a client sent, as a message repeats it: its beginning, escaped."""
    try:
        text = repr(value)
    except RecursionError:
        return "something nested too deeply"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name nearest to one mistyped, or ""."""
    if len(name) > SHOWN:
        return ""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
