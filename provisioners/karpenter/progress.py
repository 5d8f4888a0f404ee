"""How far a NodeClaim is, from its conditions and its node: pure functions.

Karpenter says what it did, once: a condition that holds is never taken back. What
became of the node since is the node's to say.
"""

from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.objects import Object, name
from pykaito.provisioners.errors import LaunchReason, words
from pykaito.provisioners.karpenter.failures import classify
from pykaito.provisioners.karpenter.objects import condition, is_leaving, is_true
from pykaito.provisioners.karpenter.settings import Settings
from pykaito.provisioners.node_checks import check_initialized
from pykaito.provisioners.protocol import Check, MachineReason, Observation

LAUNCHED = "Launched"
REGISTERED = "Registered"
INITIALIZED = "Initialized"
DRAINED = "Drained"

#: Karpenter's reason of a condition that it has yet to look at.
AWAITING = "AwaitingReconciliation"


def nothing(message: str, reason: str = LaunchReason.LAUNCHING) -> Observation:
    """Return that there is no NodeClaim, and why."""
    check = Check(ok=False, reason=reason, message=message)
    return Observation(check, check, check, exists=False)


def observe_claim(
    machine: Machine, claim: Object, node: Object | None, settings: Settings
) -> Observation:
    """Say how far a NodeClaim is; ``node`` is the one that its status names."""
    status = claim.get("status") or {}
    registered = _registered(claim, node)
    return Observation(
        launched=_launched(claim, settings),
        registered=registered,
        initialized=_initialized(machine, claim, node)
        if registered.ok and node is not None
        else Check(
            ok=False,
            reason=MachineReason.NOT_REGISTERED,
            message=registered.message,
        ),
        node_name=status.get("nodeName", ""),
        provider_id=status.get("providerID", ""),
        instance=name(claim),
    )


def _launched(claim: Object, settings: Settings) -> Check:
    told = condition(claim, LAUNCHED)
    if told.get("status") == "True":
        return Check(
            ok=True,
            reason=MachineReason.LAUNCHED,
            message=f"NodeClaim {name(claim)!r} is launched",
        )
    if not told:
        message = (
            f"Karpenter has not looked at NodeClaim {name(claim)!r} yet; if it does "
            f"not, see whether it runs, and serves {settings.kind}.{settings.group}"
        )
        return Check(ok=False, reason=LaunchReason.LAUNCHING, message=message)
    if told.get("reason", AWAITING) == AWAITING:
        message = f"Karpenter is launching NodeClaim {name(claim)!r}"
        return Check(ok=False, reason=LaunchReason.LAUNCHING, message=message)
    return Check(
        ok=False,
        reason=classify(told["reason"], told.get("message", "")).reason,
        message=_said(claim, LAUNCHED),
    )


def _registered(claim: Object, node: Object | None) -> Check:
    if not is_true(claim, REGISTERED):
        return _waiting(claim, REGISTERED, MachineReason.NOT_REGISTERED)
    if node is None:
        gone = (claim.get("status") or {}).get("nodeName", "")
        return Check(
            ok=False,
            reason=MachineReason.NODE_NOT_FOUND,
            message=f"node {gone!r} of NodeClaim {name(claim)!r} is gone",
        )
    return Check(
        ok=True,
        reason=MachineReason.REGISTERED,
        message=f"node {name(node)!r} joined the cluster",
    )


def _initialized(machine: Machine, claim: Object, node: Object) -> Check:
    if is_leaving(claim):
        message = f"NodeClaim {name(claim)!r} is being deleted"
        if condition(claim, DRAINED) and not is_true(claim, DRAINED):
            message += "; pods that may not be evicted from its node keep it"
        return Check(ok=False, reason=MachineReason.NODE_NOT_READY, message=message)
    found = check_initialized(node, machine.spec.resources)
    if found.ok and not is_true(claim, INITIALIZED):
        return _waiting(claim, INITIALIZED, MachineReason.NODE_NOT_READY)
    return found


def _waiting(claim: Object, kind: str, reason: str) -> Check:
    """Return a step that is not done yet, in Karpenter's words where there are any."""
    told = condition(claim, kind)
    message = f"NodeClaim {name(claim)!r} is not {kind} yet"
    if told.get("reason", AWAITING) != AWAITING:
        message = _said(claim, kind)
    return Check(ok=False, reason=reason, message=message)


def _said(claim: Object, kind: str) -> str:
    told = condition(claim, kind)
    text = words(told.get("message") or told["reason"])
    return f"NodeClaim {name(claim)!r} is not {kind}: {text}"
