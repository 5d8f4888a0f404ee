"""What the webhook says of a Workspace before it is stored.

Refused is only what cannot work whatever the cluster becomes. What is missing at
the moment (a node, a ConfigMap, a hub's answer) or in this release is a warning:
people and GitOps apply objects in any order, and a reconciler says it later.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import structlog

from pykaito.api.parse import InvalidObjectError, parse
from pykaito.api.v1alpha1.machine import Machine
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.api.validate import normalized, violations
from pykaito.api.violation import Violation
from pykaito.operator.admission import (
    AdmissionRequest,
    AdmissionResponse,
    Cause,
    Operation,
    allow,
    refuse,
)
from pykaito.operator.errors import ApiError
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Object
from pykaito.reconcilers.checking import instance_types
from pykaito.reconcilers.conditions import with_help
from pykaito.reconcilers.instance_types import check_instance_type
from pykaito.reconcilers.lookups import Lookups
from pykaito.reconcilers.planning import choose, plan_on
from pykaito.reconcilers.provisioning import Provisioning
from pykaito.reconcilers.workspace.machines import made_machine_object
from pykaito.runtime.presets.plan import Known, Plan, PlanError, PlanReason

PATH = "/validate-workspace"

#: What a newer release may do, or what may come by itself.
_FOR_NOW = frozenset(
    {
        PlanReason.CONFIG_NOT_FOUND,
        PlanReason.RUNTIME_NOT_SUPPORTED,
        PlanReason.TUNING_NOT_SUPPORTED,
    }
)

NOT_LOOKED_UP = (
    "what the Workspace refers to could not be looked up in time; its status will say "
    "whether it can be had"
)

#: The share of the time for an answer in which something may be looked up.
_LOOKUP_SHARE = 0.75

#: What the object's author does not write, or what says nothing of the workload.
_NO_SPEC = frozenset({"apiVersion", "kind", "metadata", "status"})

_GROUP = "kaito.sh"

# A fault begins with the path of its field.
_FAULT = re.compile(r"([A-Za-z][A-Za-z0-9._/\[\]-]*): (.*)", re.DOTALL)

log = structlog.get_logger()


@dataclass(slots=True)
class Findings:
    """What was found in one object."""

    faults: list[Cause] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, error: PlanError, *, for_now: bool) -> None:
        """Take an error as a fault, or as a warning if it may pass by itself."""
        message = with_help(str(error), error.reason)
        if for_now:
            self.warnings.append(message)
        else:
            self.faults.append(cause_of(message))


@final
class WorkspaceAdmission:
    """Decides about Workspaces, of either version.

    Args:
        nodes: all nodes of the cluster.
        lookups: those of the reconcilers.
        provisioning: who makes nodes.
    """

    def __init__(
        self, nodes: Informer, lookups: Lookups, provisioning: Provisioning
    ) -> None:
        self._nodes = nodes
        self._lookups = lookups
        self._provisioning = provisioning

    async def __call__(
        self, request: AdmissionRequest, *, seconds: float
    ) -> AdmissionResponse:
        """Admit or refuse the creation or the change of a Workspace."""
        obj, old = request.object, request.old_object
        if obj is None or request.operation not in {
            Operation.CREATE,
            Operation.UPDATE,
        }:
            return allow()
        # Nothing may keep a finalizer from being taken off.
        if (obj.get("metadata") or {}).get("deletionTimestamp"):
            return allow()
        if old is not None and same_spec(obj, old):
            return allow()
        deadline = asyncio.get_running_loop().time() + seconds * _LOOKUP_SHARE
        found = await self.judge(obj, old, deadline=deadline)
        if not found.faults:
            return allow(found.warnings)
        before: list[Cause] = []
        if old is not None:
            before = (await self.judge(old, deadline=deadline)).faults
        if any(fault not in before for fault in found.faults):
            return refuse(request, found.faults, found.warnings)
        # The change makes nothing worse: whoever makes it may be mending a part.
        told = [f"{fault.field}: {fault.message}" for fault in found.faults]
        return allow([*told, *found.warnings])

    async def judge(
        self, obj: Object, old: Object | None = None, *, deadline: float
    ) -> Findings:
        """Return what is wrong with a Workspace and what is likely not meant.

        Args:
            obj: the Workspace.
            old: what it replaces; rules that compare the two apply.
            deadline: when looking things up must end, on the loop's clock.
        """
        found = Findings()
        if faults := violations(obj, old):
            found.faults = [Cause(fault.path, fault.message) for fault in faults]
            return found
        try:
            workspace = parse(Workspace, normalized(obj))
        except InvalidObjectError as error:
            # A fault that was there before is none of the change's; the API server
            # stores no such object, but may be asked about one.
            faults = violations(obj) or [Violation("", str(error))]
            found.faults = [Cause(fault.path, fault.message) for fault in faults]
            return found
        nodes = self._nodes.store.list()
        try:
            found.warnings += check_instance_type(workspace, instance_types(nodes))
        except PlanError as error:
            found.add(error, for_now=False)
        known = await self._known(workspace, found, deadline)
        try:
            planned = self._plan(
                workspace, nodes, obj, known or self._lookups.nothing, found
            )
        except PlanError as error:
            # Of a model that could not be looked up nothing is known, nor refused.
            if known or error.reason is not PlanReason.PRESET_NOT_FOUND:
                found.add(error, for_now=passing(error, workspace))
        else:
            found.warnings += planned.warnings
        return found

    async def _known(
        self, workspace: Workspace, found: Findings, deadline: float
    ) -> Known | None:
        """Look up what the Workspace refers to, None where that cannot be had."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._lookups.known(workspace, patient=True)
        except PlanError as error:
            found.add(error, for_now=passing(error, workspace))
        except (TimeoutError, ApiError) as error:
            log.warning("could not look up", error=str(error) or "took too long")
            found.warnings.append(NOT_LOOKED_UP)
        return None

    def _plan(
        self,
        workspace: Workspace,
        nodes: Iterable[Object],
        obj: Object,
        known: Known,
        found: Findings,
    ) -> Plan:
        """Return the plan on the nodes there are, else that of the spec alone.

        Raises:
            PlanError: there is no plan whatever the nodes.
        """
        try:
            selection, planned = choose(
                workspace,
                list(nodes),
                assigned=_worker_nodes(obj),
                known=known,
            )
        except PlanError as error:
            planned = plan_on(workspace, (), (), known)
            found.add(error, for_now=True)
            return planned
        maker = self._provisioning.maker_for(workspace)
        if maker is not None:
            machine = made_machine_object(obj, workspace, planned, 0, maker)
            found.warnings += self._provisioning.check(parse(Machine, machine))
        elif selection.missing:
            found.warnings.append(
                f"resource: {len(selection.nodes)} of {planned.nodes} nodes qualify at "
                f"the moment; wanted: {selection.wanted}"
            )
        return planned


def passing(error: PlanError, workspace: Workspace) -> bool:
    """Whether what is refused may pass without a change of the spec."""
    if error.reason is PlanReason.MODEL_DOES_NOT_FIT:
        # Named nodes may be of any kind, whatever the instance type is.
        return bool(workspace.resource.preferred_nodes)
    return error.reason in _FOR_NOW or not error.terminal


def same_spec(obj: Object, old: Object) -> bool:
    """Whether two versions of a Workspace ask for the same."""
    return _asked(obj) == _asked(old)


def cause_of(message: str) -> Cause:
    """Return a fault by the path that its message begins with."""
    found = _FAULT.fullmatch(message)
    return Cause(found[1], found[2]) if found else Cause("", message)


def _worker_nodes(obj: Object) -> list[str]:
    """Return the nodes that a stored Workspace has, as far as its status tells."""
    status = obj.get("status")
    nodes = status.get("workerNodes") if isinstance(status, Mapping) else None
    return [n for n in nodes if isinstance(n, str)] if isinstance(nodes, list) else []


def _asked(obj: Object) -> Mapping[str, Any]:
    asked = {key: value for key, value in obj.items() if key not in _NO_SPEC}
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    ours = {
        key: value
        for key, value in annotations.items()
        if key.partition("/")[0].endswith(_GROUP)
    }
    return {**asked, "annotations": ours}
