"""The status of a Machine, from what its provisioner sees: pure."""

from pykaito.api.conditions import MachineCondition
from pykaito.api.v1alpha1.machine import Machine, MachineFailure, MachinePhase
from pykaito.provisioners.errors import (
    InstanceTypeError,
    InsufficientCapacityError,
    LaunchReason,
    ProvisionError,
    QuotaError,
)
from pykaito.provisioners.protocol import Check, MachineReason, Observation
from pykaito.reconcilers.conditions import Condition, with_help
from pykaito.reconcilers.gpu_facts import alternatives

CONDITIONS = (
    MachineCondition.LAUNCHED,
    MachineCondition.REGISTERED,
    MachineCondition.INITIALIZED,
    MachineCondition.READY,
)

#: What another instance type, zone or way to pay may be had in place of.
_ELSEWHERE = (InsufficientCapacityError, QuotaError, InstanceTypeError)


def conditions_of(seen: Observation) -> list[Condition]:
    """Return Karpenter's three conditions, and Ready: the first that fails."""
    steps = {
        MachineCondition.LAUNCHED: seen.launched,
        MachineCondition.REGISTERED: seen.registered,
        MachineCondition.INITIALIZED: seen.initialized,
    }
    conditions = [_condition(kind, check) for kind, check in steps.items()]
    failing = next((check for check in steps.values() if not check.ok), None)
    ready = failing or Check(
        ok=True, reason=MachineReason.READY, message=f"node {seen.node_name!r} is ready"
    )
    return [*conditions, _condition(MachineCondition.READY, ready)]


def _condition(kind: MachineCondition, check: Check) -> Condition:
    if check.ok:
        return Condition(kind, "True", check.reason, check.message)
    message = check.message
    if check.reason != LaunchReason.LAUNCHING:
        message = with_help(message, check.reason)
    return Condition(kind, "False", check.reason, message)


def phase(seen: Observation) -> MachinePhase:
    """Return the furthest step that the Machine has reached."""
    if seen.initialized.ok:
        return MachinePhase.READY
    if seen.registered.ok:
        return MachinePhase.REGISTERED
    return MachinePhase.LAUNCHED if seen.launched.ok else MachinePhase.PENDING


def unavailable(reason: str, message: str, *, exists: bool = False) -> Observation:
    """Return that there is no node, and why."""
    check = Check(ok=False, reason=reason, message=message)
    return Observation(check, check, check, exists=exists)


def launching(machine: Machine) -> Observation:
    """Return that an instance was just asked for."""
    what = machine.spec.instance_type or "a node"
    return unavailable(
        LaunchReason.LAUNCHING,
        f"{what} was asked for from {machine.spec.provisioner}",
        exists=True,
    )


def between_tries(failures: int, last: MachineFailure) -> Observation:
    """Return that there is no instance until the next try."""
    times = "once" if failures == 1 else f"{failures} times"
    return unavailable(
        last.reason,
        f"{last.message}; failed {times}, tried again at {last.retry_time:%H:%M:%S} "
        "UTC",
    )


def explained(machine: Machine, failure: ProvisionError) -> str:
    """Return a failure as a sentence that says what else can be done."""
    if not isinstance(failure, _ELSEWHERE):
        return str(failure)
    remedies = []
    if machine.spec.zones:
        zones = ", ".join(machine.spec.zones)
        remedies.append(f"name other zones than {zones}")
    if others := alternatives(machine.spec.instance_type):
        remedies.append(f"use another instance type, such as {' or '.join(others)}")
    return "; ".join([str(failure), *remedies])
