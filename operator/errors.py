"""What can go wrong between a reconciler and the API server.

    ApiError                 the request was refused or got no usable answer
     ├ NotFoundError         404
     ├ AlreadyExistsError    409 on create
     ├ ConflictError         409: the object changed since it was read
     ├ ApplyConflictError    409: another manager owns a field being applied
     ├ ExpiredError          410: the resource version is too old to watch from
     ├ InvalidError          422: a field has a value that the schema refuses, or
     │                       400: one that cannot be read, such as a quantity, or
     │                       500: an apply has a field that is not in the schema
     ├ ForbiddenError        403: RBAC or admission says no
     ├ UnauthorizedError     401
     ├ TooManyRequestsError  429
     └ ServerError           5xx
        └ TransportError     no answer: connection refused, broken or silent
    UnavailableError         a reconciler's own: something else did not answer
    TerminalError            a reconciler's own: trying again cannot help

All but TerminalError are worth another try later, each with its own hope.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

MAX_TEXT = 500
"""Characters of a body that is no Status kept as the error's message."""


class TerminalError(Exception):
    """Raised by a reconciler: do not try again until the object changes."""


class UnavailableError(Exception):
    """Raised by a reconciler: what it needs from elsewhere cannot be had for now."""


class ApiError(Exception):
    """The API server refused a request, or gave no answer that can be used."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status code, 0 when there was no answer."""
        self.reason = reason
        """The machine-readable `reason` of the Status, like `AlreadyExists`."""
        self.message = message
        self.details = dict(details or {})
        """The `details` of the Status: kind, name and the causes by field."""
        self.retry_after = retry_after
        """Seconds that the server asked to wait, None when it did not say."""

    def __str__(self) -> str:
        what = " ".join(str(part) for part in (self.status, self.reason) if part)
        return f"{what}: {self.message}" if what else self.message

    @property
    def resource_version_too_large(self) -> bool:
        """Whether the server is behind the resource version that it was asked for.

        It happens after a restore of etcd; only a new list helps.
        """
        causes = self.details.get("causes") or ()
        return any(c.get("reason") == "ResourceVersionTooLarge" for c in causes)


class NotFoundError(ApiError):
    """The object, its namespace or its whole resource does not exist."""


class AlreadyExistsError(ApiError):
    """A create named an object that is there."""


class ConflictError(ApiError):
    """The object is not the one expected: changed since read, or of another uid."""


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that an apply wanted to set and somebody else owns."""

    field: str
    """Path in the object, like `.spec.replicas`."""
    manager: str
    """The owner's field manager, like `kubectl-edit`; empty when not told."""
    message: str
    """The server's own words."""


class ApplyConflictError(ApiError):
    """A server-side apply met fields that other managers own; nothing was applied."""

    _MANAGER: ClassVar[re.Pattern[str]] = re.compile(r'conflict with "([^"]*)"')

    @property
    def conflicts(self) -> tuple[FieldConflict, ...]:
        """The fields in question, in the server's order."""
        return tuple(
            FieldConflict(
                field=cause.get("field", ""),
                manager=match[1] if (match := self._MANAGER.match(message)) else "",
                message=message,
            )
            for cause in self.details.get("causes") or ()
            if cause.get("reason") == "FieldManagerConflict"
            for message in (str(cause.get("message", "")),)
        )


class ExpiredError(ApiError):
    """The resource version or continue token is older than what etcd still holds."""


class InvalidError(ApiError):
    """The object breaks its schema; `details["causes"]` may name the fields."""


class ForbiddenError(ApiError):
    """RBAC or admission refused. Signing in again does not change that."""


class UnauthorizedError(ApiError):
    """The credentials were not accepted, also after reading them anew."""


class TooManyRequestsError(ApiError):
    """The server sheds load, or a disruption budget holds an eviction back."""


class ServerError(ApiError):
    """The server failed."""


class TransportError(ServerError):
    """No answer came. A write may or may not have happened."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    422: InvalidError,
    429: TooManyRequestsError,
}


#: How the API server begins a 500 about an apply that breaks the schema: a field that
#: there is not, a list that is none, an item that is there twice.
_UNTYPED = "failed to create typed patch object"


def error_from_status(
    status: Mapping[str, Any], *, code: int = 0, retry_after: float | None = None
) -> ApiError:
    """Return the error that a Kubernetes `Status` object tells of.

    `code` is the HTTP status; a watch's ERROR event has none, and then the
    Status's own code counts.
    """
    code = code or int(status.get("code") or 0)
    reason = str(status.get("reason") or "")
    details = status.get("details") or {}
    message = str(status.get("message") or reason or "the server gave no message")
    kind = _BY_STATUS.get(code, ServerError if code >= 500 else ApiError)  # noqa: PLR2004 - the 5xx class of HTTP
    if kind is ServerError and message.startswith(_UNTYPED):
        kind = InvalidError
    if kind is ConflictError:
        causes = details.get("causes") or ()
        if reason == "AlreadyExists":
            kind = AlreadyExistsError
        elif any(c.get("reason") == "FieldManagerConflict" for c in causes):
            kind = ApplyConflictError
    if retry_after is None and details.get("retryAfterSeconds"):
        retry_after = float(details["retryAfterSeconds"])
    return kind(
        message,
        status=code,
        reason=reason,
        details=details,
        retry_after=retry_after,
    )


def error_from_body(
    code: int, body: bytes, *, retry_after: float | None = None
) -> ApiError:
    """Return the error for an HTTP answer that is not a success.

    A body that is no `Status` (a proxy's page, `404 page not found`) becomes the
    message, cut to a length that fits a log line.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict) or parsed.get("kind") != "Status":
        text = body[: 4 * MAX_TEXT].decode(errors="replace").strip()[:MAX_TEXT]
        parsed = {"message": text or f"the server answered {code} and an empty body"}
    return error_from_status(parsed, code=code, retry_after=retry_after)
