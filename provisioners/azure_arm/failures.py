"""What Azure refuses, as the errors that a provisioner may raise: pure.

The services answer with a code and a sentence, which may hold others: the cause of a
failed operation is often two levels down. Codes decide. Where a service uses one code
for many things, its sentence does.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pykaito.provisioners.errors import (
    InProgressError,
    InstanceTypeError,
    InsufficientCapacityError,
    InvalidRequestError,
    LaunchError,
    ProvisionError,
    QuotaError,
    TargetNotFoundError,
    ThrottledError,
    UnauthorizedError,
    UnreachableError,
    words,
)

THROTTLED_SECONDS = 30.0
BUSY_SECONDS = 20.0
STOPPED_SECONDS = 60.0

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_CONFLICT, _PRECONDITION, _THROTTLED = 409, 412, 429
_BAD_REQUEST, _SERVER = 400, 500

_CAPACITY = {
    "allocationfailed",
    "zonalallocationfailed",
    "overconstrainedallocationrequest",
    "overconstrainedzonalallocationrequest",
}
_QUOTA = {"quotaexceeded", "errcode_insufficientvcpuquota", "resourcequotaexceeded"}
_SIZE = {
    "skunotavailable",
    "notavailableforsubscription",
    "vmsizenotsupported",
    "vmskunotavailable",
}
_DENIED = {
    "authorizationfailed",
    "linkedauthorizationfailed",
    "requestdisallowedbypolicy",
    "authenticationfailed",
    "invalidauthenticationtoken",
    "expiredauthenticationtoken",
}
_BUSY = {
    "operationnotallowed",
    "etagmismatch",
    "originaletagnotexpect",
    "preconditionfailed",
    "conflict",
    "anotheroperationinprogress",
}

_QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]*")
_TOKEN = re.compile(r"\beyJ[\w-]{5,}(\.[\w-]+)*")
_URL = re.compile(r"https?://\S+")


class CloudError(Exception):
    """Azure refused, failed or did not answer.

    Attributes:
        status: of the answer; None when there was none, or it is of an operation.
        codes: the service's, the outermost first.
        said: the sentences that come with them, without anything secret.
        retry_after: seconds, where the answer says how many.
        credential: whether no token was to be had, so the service was not asked.
        answered: whether the service said anything at all.
    """

    def __init__(
        self,
        said: str,
        *,
        status: int | None = None,
        codes: Iterable[str] = (),
        retry_after: float | None = None,
        credential: bool = False,
        answered: bool = True,
    ) -> None:
        self.said = words(harmless(said))
        self.status = status
        self.codes = tuple(codes)
        self.retry_after = retry_after
        self.credential = credential
        self.answered = answered
        super().__init__(self.said)

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed if it is sent again soon."""
        if not self.answered:
            return True
        status = self.status or 0
        return status in {408, _THROTTLED} or status >= _SERVER

    @property
    def lacks_pool(self) -> bool:
        """Whether it says that there is no such pool, in a cluster that there is."""
        if self.status != _NOT_FOUND:
            return False
        return self.has({"notfound"}) or "agentpools/" in self.said.lower()

    def has(self, codes: Iterable[str]) -> bool:
        """Whether one of the codes is among those that the service gave."""
        return not {code.lower() for code in self.codes}.isdisjoint(codes)


def from_error(error: Mapping[str, Any], **more: Any) -> CloudError:
    """Return an error as the services write it, with those within it."""
    found = list(_flat(error))
    codes = [code for code, _ in found if code]
    said = dict.fromkeys(
        f"{code}: {text}" if code else text for code, text in found if text
    )
    return CloudError("; ".join(said) or ", ".join(codes), codes=codes, **more)


def _flat(error: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield str(error.get("code") or ""), str(error.get("message") or "")
    for detail in error.get("details") or ():
        if isinstance(detail, Mapping):
            yield from _flat(detail)


def harmless(text: str) -> str:
    """Return a text without what URLs are signed with, and without tokens."""
    return _TOKEN.sub("[token]", _QUERY.sub(r"\1", text))


def explain(error: CloudError, about: str) -> ProvisionError:
    """Return an error of Azure as one that a provisioner may raise.

    Args:
        error: Azure's.
        about: what was asked for, for people.
    """
    message = f"{about}: {error.said}"
    text = _URL.sub("", error.said).lower()
    if (found := _reached(error, message)) is not None:
        return found
    if error.has(_DENIED) or error.status == _FORBIDDEN:
        return UnauthorizedError(message)
    if error.has(_SIZE) or "not allowed in your subscription" in text:
        return InstanceTypeError(message)
    if error.has(_QUOTA) or re.search(r"\bquota\b", text):
        return QuotaError(message)
    if error.has(_CAPACITY):
        return InsufficientCapacityError(message)
    if error.status == _NOT_FOUND:
        return TargetNotFoundError(message)
    return _busy(error, message, text)


def _reached(error: CloudError, message: str) -> ProvisionError | None:
    """Return the error if the service was not asked, or did not look into it."""
    status = error.status or 0
    if status == _THROTTLED:
        pause = error.retry_after
        return ThrottledError(
            message, retry_after=THROTTLED_SECONDS if pause is None else pause
        )
    if not error.answered or status >= _SERVER:
        return UnreachableError(message, retry_after=error.retry_after)
    if error.credential or status == _UNAUTHORIZED:
        return UnauthorizedError(message)
    return None


def _busy(error: CloudError, message: str, text: str) -> ProvisionError:
    if error.has(_BUSY) or error.status in {_CONFLICT, _PRECONDITION}:
        pause = STOPPED_SECONDS if "stopped" in text else BUSY_SECONDS
        return InProgressError(message, retry_after=error.retry_after or pause)
    if error.status == _BAD_REQUEST:
        return InvalidRequestError("spec", message)
    return LaunchError(message)
