"""What a provisioner can say of a node that it cannot give.

    ProvisionError                   no node for now; tried again after a pause
     ├ LaunchError                   refused in words that fit none of the others
     ├ InsufficientCapacityError     the cloud has none of the kind at the moment
     ├ QuotaError                    the account may have no more of them
     ├ ThrottledError                too many requests; says when to ask again
     ├ InProgressError               the cloud is busy with what was asked before
     ├ UnreachableError              what makes nodes does not answer
     ├ NotInstalledError             what makes nodes is not in the cluster
     └ RefusedError                  only a person can mend it
        ├ InvalidRequestError        a field asks for what cannot be
        ├ InstanceTypeError          the cloud does not sell it here, or to us
        ├ UnauthorizedError          credentials are refused, or lack a right
        ├ TargetNotFoundError        where nodes are to be made does not exist
        └ NotConfiguredError         the operator was not told where or how

Each becomes a condition of the Machine, with the class's reason and the message. The
message is a sentence for people. It holds the cloud's own words where there are any,
and never a credential.
"""

from enum import StrEnum
from typing import ClassVar

MAX_WORDS = 600
"""Characters kept of what a cloud says."""


class LaunchReason(StrEnum):
    """Why there is no node yet, as one word."""

    LAUNCHING = "Launching"
    LAUNCH_FAILED = "LaunchFailed"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity"
    CLOUD_QUOTA_EXCEEDED = "CloudQuotaExceeded"
    CLOUD_THROTTLED = "CloudThrottled"
    OPERATION_IN_PROGRESS = "OperationInProgress"
    PROVISIONER_UNREACHABLE = "ProvisionerUnreachable"
    PROVISIONER_NOT_INSTALLED = "ProvisionerNotInstalled"
    MACHINE_INVALID = "MachineInvalid"
    INSTANCE_TYPE_NOT_AVAILABLE = "InstanceTypeNotAvailable"
    CLOUD_UNAUTHORIZED = "CloudUnauthorized"
    TARGET_NOT_FOUND = "TargetNotFound"
    PROVISIONER_NOT_CONFIGURED = "ProvisionerNotConfigured"


class ProvisionError(Exception):
    """No node can be had for now.

    Attributes:
        reason: the condition's.
        retry_after: seconds until the next try is of use, where that is known; else
            pauses grow.
    """

    reason: ClassVar[str] = LaunchReason.LAUNCH_FAILED

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LaunchError(ProvisionError):
    """Refused in words that fit none of the others."""


class InsufficientCapacityError(ProvisionError):
    """The cloud has no machine of the kind at the moment."""

    reason = LaunchReason.INSUFFICIENT_CAPACITY


class QuotaError(ProvisionError):
    """The account may have no more machines of the kind."""

    reason = LaunchReason.CLOUD_QUOTA_EXCEEDED


class ThrottledError(ProvisionError):
    """The cloud takes no more requests for a while."""

    reason = LaunchReason.CLOUD_THROTTLED


class InProgressError(ProvisionError):
    """The cloud is busy with something that has to end before."""

    reason = LaunchReason.OPERATION_IN_PROGRESS


class UnreachableError(ProvisionError):
    """What makes nodes does not answer, or answers that it failed."""

    reason = LaunchReason.PROVISIONER_UNREACHABLE


class NotInstalledError(ProvisionError):
    """What makes nodes is not in the cluster; it may come."""

    reason = LaunchReason.PROVISIONER_NOT_INSTALLED


class RefusedError(ProvisionError):
    """Only a person can mend it; it is still tried, seldom, in case one did."""


class InvalidRequestError(RefusedError):
    """A field of the Machine asks for what cannot be.

    Attributes:
        field: the Machine's, such as ``spec.instanceType``.
    """

    reason = LaunchReason.MACHINE_INVALID

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class InstanceTypeError(RefusedError):
    """The instance type is not sold there, or not to this account."""

    reason = LaunchReason.INSTANCE_TYPE_NOT_AVAILABLE


class UnauthorizedError(RefusedError):
    """Credentials are refused, or lack a right."""

    reason = LaunchReason.CLOUD_UNAUTHORIZED


class TargetNotFoundError(RefusedError):
    """The cluster, group or network where nodes are to be made does not exist."""

    reason = LaunchReason.TARGET_NOT_FOUND


class NotConfiguredError(RefusedError):
    """The operator was not told what the provisioner needs."""

    reason = LaunchReason.PROVISIONER_NOT_CONFIGURED


#: Reasons that last until a person acts.
HOPELESS = frozenset(
    {
        LaunchReason.MACHINE_INVALID,
        LaunchReason.INSTANCE_TYPE_NOT_AVAILABLE,
        LaunchReason.CLOUD_UNAUTHORIZED,
        LaunchReason.TARGET_NOT_FOUND,
        LaunchReason.PROVISIONER_NOT_CONFIGURED,
    }
)


def words(text: str) -> str:
    """Return what a cloud said as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 3]}..."
