"""AdmissionReview, version 1: what the API server asks before it stores an object.

Only the wire format: bytes to a request, and a response to bytes. Who decides is
a handler, who speaks HTTP is `webhook`.
"""

import itertools
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import orjson

from pykaito.operator import wire
from pykaito.operator.objects import Object

API_VERSION = "admission.k8s.io/v1"


class Operation(StrEnum):
    """What is done to the object."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


#: Characters of all warnings that the API server passes on.
MAX_WARNINGS = 4096
#: Of each, where there are more.
MAX_WARNING = 256

_INVALID = 422
_MAX_FOUND = 80


class MalformedReviewError(Exception):
    """The body is no review that can be answered; the message says why."""


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """What is to be admitted."""

    uid: str
    """Names the request; the answer repeats it."""
    operation: Operation
    group: str
    """API group of the object."""
    kind: str
    """Kind of the object."""
    name: str
    """Empty when the server has not made the name yet."""
    namespace: str
    username: str
    """Who asks."""
    object: Object | None
    """The object as it would be stored; None on a deletion."""
    old_object: Object | None
    """The object as it is stored; None on a creation."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """One fault, in the form of `metav1.StatusCause`."""

    field: str
    """Path of the field, like `inference.preset.name`."""
    message: str
    reason: str = "FieldValueInvalid"


@dataclass(frozen=True, slots=True)
class AdmissionResponse:
    """What becomes of a request."""

    allowed: bool
    message: str = ""
    """Why it is refused, for people."""
    code: int = 403
    """HTTP status of a refusal."""
    reason: str = "Forbidden"
    """A refusal's reason, as one word for programs."""
    causes: tuple[Cause, ...] = ()
    """The faults one by one; clients print them instead of the message."""
    warnings: tuple[str, ...] = ()
    """What the client prints beside the outcome."""


class Handler(Protocol):
    """Decides about requests."""

    def __call__(
        self, request: AdmissionRequest, *, seconds: float
    ) -> Awaitable[AdmissionResponse]:
        """Return what becomes of the request, within the seconds.

        What it raises does not keep the object from being stored, nor does an
        answer that comes too late.
        """


def allow(warnings: Iterable[str] = ()) -> AdmissionResponse:
    """Return a response that admits."""
    return AdmissionResponse(allowed=True, warnings=tuple(warnings))


def refuse(
    request: AdmissionRequest, causes: Iterable[Cause], warnings: Iterable[str] = ()
) -> AdmissionResponse:
    """Return a refusal that reads as the API server's own of an invalid object."""
    causes = tuple(causes)
    faults = [f"{c.field}: {c.message}" if c.field else c.message for c in causes]
    told = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
    kind = f"{request.kind}.{request.group}" if request.group else request.kind
    return AdmissionResponse(
        allowed=False,
        message=f'{kind} "{request.name}" is invalid: {told}',
        code=_INVALID,
        reason="Invalid",
        causes=causes,
        warnings=tuple(warnings),
    )


def parse_review(body: bytes) -> AdmissionRequest:
    """Return the request in the body of a review.

    Raises:
        MalformedReviewError: the body is anything else.
    """
    try:
        review = wire.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedReviewError(f"the body is no JSON: {error}") from None
    review = _mapping(review, "the body")
    for field, wanted in (("apiVersion", API_VERSION), ("kind", "AdmissionReview")):
        if review.get(field) != wanted:
            raise MalformedReviewError(
                f"{field}: found {_shown(review.get(field))}, expected {wanted}"
            )
    request = _mapping(review.get("request"), "request")
    kind = _mapping(request.get("kind"), "request.kind")
    user = _mapping(request.get("userInfo", {}), "request.userInfo")
    found = request.get("operation")
    try:
        operation = Operation(str(found))
    except ValueError:
        raise MalformedReviewError(
            f"request.operation: found {_shown(found)}, expected one of "
            f"{', '.join(Operation)}"
        ) from None
    return AdmissionRequest(
        uid=_text(request, "uid", "request.uid", required=True),
        operation=operation,
        group=_text(kind, "group", "request.kind.group"),
        kind=_text(kind, "kind", "request.kind.kind", required=True),
        name=_text(request, "name", "request.name"),
        namespace=_text(request, "namespace", "request.namespace"),
        username=_text(user, "username", "request.userInfo.username"),
        object=_optional(request, "object"),
        old_object=_optional(request, "oldObject"),
        dry_run=request.get("dryRun") is True,
    )


def render_review(request: AdmissionRequest, response: AdmissionResponse) -> bytes:
    """Return the body that answers the request."""
    answer: dict[str, Any] = {"uid": request.uid, "allowed": response.allowed}
    if not response.allowed:
        answer["status"] = {
            "status": "Failure",
            "message": response.message,
            "reason": response.reason,
            "code": response.code,
            # kubectl prints kind and name, and then the causes.
            "details": {
                "group": request.group,
                "kind": request.kind,
                "name": request.name,
                "causes": [
                    {"reason": c.reason, "message": c.message, "field": c.field}
                    for c in response.causes
                ],
            },
        }
    if warnings := printable(response.warnings):
        answer["warnings"] = warnings
    return orjson.dumps(
        {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": answer}
    )


def printable(warnings: Iterable[str]) -> list[str]:
    """Return the warnings as the API server passes them on, each once.

    They travel in an HTTP header each, so that a control character would cost the
    whole warning. Of more than the API server passes on each is cut, and the last
    ones are left out.
    """
    words = (
        "".join(c if c.isprintable() else " " for c in warning).split()
        for warning in warnings
    )
    told = list(dict.fromkeys(" ".join(each) for each in words if each))
    if sum(map(len, told)) > MAX_WARNINGS:
        told = list(map(_shortened, told))
    lengths = itertools.accumulate(map(len, told))
    return [t for t, sofar in zip(told, lengths, strict=True) if sofar <= MAX_WARNINGS]


def _shortened(text: str) -> str:
    if len(text) <= MAX_WARNING:
        return text
    kept, _, _ = text[:MAX_WARNING].rpartition(" ")
    return f"{(kept or text)[: MAX_WARNING - 1]}…"


def _mapping(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedReviewError(f"{path}: found {_shown(value)}, expected an object")
    return value


def _optional(request: dict[str, Any], field: str) -> Object | None:
    value = request.get(field)
    return None if value is None else _mapping(value, f"request.{field}")


def _text(
    parent: dict[str, Any], field: str, path: str, *, required: bool = False
) -> str:
    value = parent.get(field, "")
    if not isinstance(value, str) or (required and not value):
        raise MalformedReviewError(f"{path}: found {_shown(value)}, expected a text")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_FOUND else f"{text[: _MAX_FOUND - 1]}…"
