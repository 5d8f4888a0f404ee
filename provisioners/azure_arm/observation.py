"""How far a Machine is, from its pool and its node: pure."""

from dataclasses import replace

from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.objects import Object, name
from pykaito.provisioners.azure_arm.failures import CloudError, explain
from pykaito.provisioners.azure_arm.pool import Pool
from pykaito.provisioners.errors import LaunchReason, ProvisionError
from pykaito.provisioners.node_checks import check_initialized
from pykaito.provisioners.protocol import Check, MachineReason, Observation

UNKNOWN_SECONDS = 5.0

#: AKS says Creating; AKS Arc begins with the others.
_BEING_MADE = frozenset({"Creating", "Accepted", "Pending"})


def absent(instance: str, failure: ProvisionError | None = None) -> Observation:
    """Return that there is no pool."""
    check = Check(
        ok=False,
        reason=str(failure.reason) if failure else LaunchReason.LAUNCHING,
        message=str(failure) if failure else f"there is no agent pool {instance!r}",
    )
    return Observation(check, check, check, exists=False, failure=failure)


def unknown(
    machine: Machine, instance: str, node: Object | None, why: ProvisionError | None
) -> Observation:
    """Return what is known while the pools are not: the node, if there is one.

    Where a pool was asked for there is taken to be one, or it would be asked for
    again, or be taken for lost. Where none was, the launch finds out for itself.
    """
    if machine.status.launch_time is None:
        return absent(instance, why)
    launched = Check(
        ok=node is not None,
        reason=why.reason if why else LaunchReason.LAUNCHING,
        message=str(why or f"agent pool {instance!r} is looked for"),
    )
    return _with_node(machine, instance, launched, node, look_again=UNKNOWN_SECONDS)


def observe(machine: Machine, pool: Pool, node: Object | None) -> Observation:
    """Return how far a Machine is whose pool is known."""
    initialized = node is not None and check_initialized(node, machine.spec.resources)
    in_use = bool(initialized and initialized.ok)
    # A pool that is stopped waits for whoever stopped it, and one whose node works
    # is not given up because a later change to it failed.
    failed = pool.failed and not pool.stopped and not in_use
    failure = _failure(pool) if failed else None
    seen = _with_node(
        machine, pool.name, _launched(pool, failure, node), node, failure=failure
    )
    return _stopped(seen, pool) if pool.stopped and not in_use else seen


def _stopped(seen: Observation, pool: Pool) -> Observation:
    waiting = Check(
        ok=False,
        reason=MachineReason.NOT_REGISTERED,
        message=f"agent pool {pool.name!r} is stopped; start it to have its node back",
    )
    return replace(seen, registered=waiting, initialized=waiting, stopped=True)


def _launched(pool: Pool, failure: ProvisionError | None, node: Object | None) -> Check:
    if failure is not None:
        return Check(ok=False, reason=failure.reason, message=str(failure))
    if pool.deleting:
        return Check(
            ok=False,
            reason=LaunchReason.OPERATION_IN_PROGRESS,
            message=f"agent pool {pool.name!r} is being deleted",
        )
    if pool.state in _BEING_MADE and node is None:
        return Check(
            ok=False,
            reason=LaunchReason.LAUNCHING,
            message=f"agent pool {pool.name!r} is being created",
        )
    return Check(
        ok=True,
        reason=MachineReason.LAUNCHED,
        message=f"agent pool {pool.name!r} of {pool.size} is {pool.state}",
    )


def _failure(pool: Pool) -> ProvisionError:
    what = f"agent pool {pool.name!r} is {pool.state}"
    said = pool.error or CloudError("Azure does not say why")
    return explain(said, what)


def _with_node(
    machine: Machine,
    instance: str,
    launched: Check,
    node: Object | None,
    *,
    failure: ProvisionError | None = None,
    look_again: float | None = None,
) -> Observation:
    if node is None:
        registered = Check(
            ok=False,
            reason=MachineReason.NOT_REGISTERED,
            message=f"no node has joined from agent pool {instance!r}",
        )
        return Observation(
            launched,
            registered,
            registered,
            instance=instance,
            failure=failure,
            look_again=look_again,
        )
    return Observation(
        launched,
        Check(
            ok=True,
            reason=MachineReason.REGISTERED,
            message=f"node {name(node)!r} joined from agent pool {instance!r}",
        ),
        check_initialized(node, machine.spec.resources),
        node_name=name(node),
        provider_id=node.get("spec", {}).get("providerID", ""),
        instance=instance,
        failure=failure,
        look_again=look_again,
    )
