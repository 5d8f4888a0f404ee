"""How Azure refuses: the codes and shapes are its own, the wording is ours.

Azure Resource Manager wraps what it says in `error`; the AKS resource provider
behind it answers with the bare error.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Refusal:
    """An error of the service, as an answer or as the end of an operation."""

    status: int
    code: str
    message: str
    bare: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    details: tuple["Refusal", ...] = ()

    def error(self) -> dict[str, Any]:
        details = [detail.error() for detail in self.details]
        return {"code": self.code, "message": self.message, "details": details}

    def answer(self) -> Answer:
        error = self.error()
        body = {**error, "subcode": ""} if self.bare else {"error": error}
        return Answer(self.status, body, self.headers)

    def within(self, code: str) -> "Refusal":
        """Return it as the cause of another, as ends of operations have it."""
        message = "The operation ended in the state 'Failed'."
        return Refusal(409, code, message, details=(replace(self, bare=False),))


class RefusedError(Exception):
    """The service refuses the request."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def unauthenticated(code: str, why: str, authority: str) -> Refusal:
    challenge = (
        f'Bearer authorization_uri="{authority}", error="invalid_token", '
        f'error_description="{why}"'
    )
    return Refusal(401, code, why, headers={"WWW-Authenticate": challenge})


def forbidden(action: str = "agentPools/write") -> Refusal:
    return Refusal(
        403,
        "AuthorizationFailed",
        "The client does not have authorization to perform action "
        f"'Microsoft.ContainerService/managedClusters/{action}'.",
    )


def throttled(after: float = 3) -> Refusal:
    return Refusal(
        429,
        "SubscriptionRequestsThrottled",
        "The subscription has sent too many requests.",
        headers={"Retry-After": f"{after:g}"},
    )


def broken(status: int = 500) -> Refusal:
    codes = {500: "InternalServerError", 502: "BadGateway", 503: "ServerUnavailable"}
    return Refusal(status, codes.get(status, "GatewayTimeout"), "The server failed.")


def quota_exceeded(code: str = "ErrCode_InsufficientVCPUQuota") -> Refusal:
    return Refusal(
        400,
        code,
        "Insufficient vcpu quota requested 24, remaining 0 for family "
        "standardNCADSA100v4Family in region westeurope.",
        bare=True,
    )


def sku_not_available(code: str = "SkuNotAvailable") -> Refusal:
    return Refusal(
        400,
        code,
        "The VM size is not available to this subscription in location 'westeurope'.",
        bare=True,
    )


def allocation_failed(code: str = "AllocationFailed") -> Refusal:
    return Refusal(409, code, "There is not enough capacity for the VM size.")


def overconstrained() -> Refusal:
    return allocation_failed("OverconstrainedZonalAllocationRequest")


def in_progress(what: str) -> Refusal:
    return Refusal(
        409,
        "OperationNotAllowed",
        f"Operation is not allowed: another operation ({what}) is in progress.",
        bare=True,
    )


def cluster_stopped() -> Refusal:
    return Refusal(
        409,
        "OperationNotAllowed",
        "Operation is not allowed: the managed cluster is stopped.",
        bare=True,
    )


def precondition_failed() -> Refusal:
    return Refusal(
        412, "PreconditionFailed", "The condition of the request fails.", bare=True
    )


def invalid(parameter: str, why: str) -> Refusal:
    return Refusal(
        400,
        "InvalidParameter",
        f"The value of parameter {parameter} is invalid: {why}",
        bare=True,
    )


def pool_not_found(name: str) -> Refusal:
    return Refusal(404, "NotFound", f"Agent Pool not found: {name}", bare=True)


def resource_not_found(path: str) -> Refusal:
    return Refusal(404, "ResourceNotFound", f"The resource '{path}' was not found.")
