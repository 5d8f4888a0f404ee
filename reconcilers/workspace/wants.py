"""Which Machines a Workspace is to have, and which it may not have though it asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, final

from pykaito.api import labels
from pykaito.api.conditions import WithheldReason
from pykaito.api.parse import parse
from pykaito.api.v1alpha1.machine import Machine, MachinePhase
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.clock import Clock
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object, key
from pykaito.reconcilers.planning import Made, allocate, choose
from pykaito.reconcilers.provisioning import Provisioning
from pykaito.reconcilers.workspace import giving_up
from pykaito.reconcilers.workspace.budget import Budget
from pykaito.reconcilers.workspace.claims import Claims
from pykaito.reconcilers.workspace.machines import (
    is_made,
    machine_object,
    made_machine_object,
    node_of,
)
from pykaito.reconcilers.workspace.nodes import Selection
from pykaito.reconcilers.workspace.slots import slot_of
from pykaito.reconcilers.workspace.status import is_ready
from pykaito.runtime.presets.plan import Known, Plan

NO_CHOICE = Selection(nodes=(), missing=0, wanted="")

#: Seconds until it is looked whether another Workspace gave a Machine back.
LIMIT_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Informers:
    """The caches that the workspace reconciler reads."""

    workspaces: Informer
    machines: Informer
    nodes: Informer
    deployments: Informer


@dataclass(frozen=True, slots=True)
class Wanted:
    """The Machines of a Workspace as they are to be."""

    plan: Plan
    machines: Sequence[Mapping[str, Any]]
    selection: Selection = NO_CHOICE
    #: Reason and sentence why there are fewer Machines than the plan asks for.
    withheld: tuple[str, str] | None = None
    #: Seconds until this may be another by itself.
    look_again: float | None = None


@final
class Wants:
    """Decides which Machines Workspaces are to have, so that no two want one node."""

    def __init__(
        self, informers: Informers, provisioning: Provisioning, clock: Clock
    ) -> None:
        self._informers = informers
        self._provisioning = provisioning
        self._clock = clock
        self._claims = Claims(informers.machines)
        limit = provisioning.settings.limits.in_all
        self._budget = Budget(informers.machines, clock, limit)

    def forget(self, owner: Key) -> None:
        """Want nothing any more for a Workspace but what its Machines hold."""
        self._claims.drop(owner)

    def of(
        self, live: Object, workspace: Workspace, owned: Sequence[Object], known: Known
    ) -> Wanted:
        """Return the Machines that the Workspace is to have now.

        Args:
            live: the Workspace as the API server has it.
            workspace: the same as a model.
            owned: the Machines that it has.
            known: what was looked up beside the spec.

        Raises:
            PlanError: nothing can serve it, and why.
        """
        maker = self._maker(workspace, owned)
        if maker is None:
            return self._prepared(live, workspace, owned, known)
        return self._made(live, workspace, owned, known, maker)

    def _maker(self, workspace: Workspace, owned: Sequence[Object]) -> str | None:
        """Return who makes the nodes: who began to, unless the Workspace says else.

        An operator that is told of another default must not take the nodes away under
        the models that are served on them.
        """
        maker = self._provisioning.maker_for(workspace)
        if (
            labels.PROVISIONER in workspace.metadata.annotations
            or not workspace.resource.instance_type
        ):
            return maker
        began = [m for m in owned if is_made(m) and not _is_leaving(m)]
        return str(began[0]["spec"]["provisioner"]) if began else maker

    def _prepared(
        self, live: Object, workspace: Workspace, owned: Sequence[Object], known: Known
    ) -> Wanted:
        selection, planned = choose(
            workspace,
            self._informers.nodes.store.list(),
            assigned={node_of(machine) for machine in owned if not is_made(machine)},
            lost=_lost(owned),
            claimed=self._claims.of_others(key(live)),
            known=known,
        )
        self._claims.put(key(live), selection.nodes, planned.node_resources)
        return Wanted(
            planned,
            [machine_object(live, workspace, planned, n) for n in selection.nodes],
            selection,
        )

    def _made(
        self,
        live: Object,
        workspace: Workspace,
        owned: Sequence[Object],
        known: Known,
        maker: str,
    ) -> Wanted:
        allotment, planned = allocate(
            workspace,
            self._informers.nodes.store.list(),
            _made_of(workspace, owned, maker),
            assigned={node_of(machine) for machine in owned if not is_made(machine)},
            lost=_lost(owned),
            claimed=self._claims.of_others(key(live)),
            known=known,
        )
        self._claims.put(key(live), allotment.prepared, planned.node_resources)
        prepared = [
            machine_object(live, workspace, planned, n) for n in allotment.prepared
        ]

        def made(slots: Sequence[int]) -> list[dict[str, Any]]:
            return [
                made_machine_object(live, workspace, planned, slot, maker)
                for slot in slots
            ]

        judged = self._judge(live, owned)
        if judged.given_up:
            given_up = (WithheldReason.NODES_RELEASED, judged.given_up)
            return Wanted(planned, prepared, withheld=given_up)
        kept, new = made(allotment.kept), made(allotment.new)
        for machine in new[:1]:
            self._provisioning.check(parse(Machine, machine))
        limits = self._provisioning.settings.limits
        if new and len(allotment.slots) > limits.per_workspace:
            too_many = _too_many(workspace, len(allotment.slots), limits.per_workspace)
            return Wanted(planned, [*prepared, *kept], withheld=too_many)
        allowed = self._budget.take([key(machine) for machine in new])
        wanted = Wanted(
            planned,
            [*prepared, *kept, *(m for m in new if key(m) in allowed)],
            look_again=judged.look_again,
        )
        if lacking := len(new) - len(allowed):
            withheld = _beyond_limit(lacking, planned.nodes, limits.in_all)
            return replace(wanted, withheld=withheld, look_again=LIMIT_PAUSE)
        return wanted

    def _judge(self, live: Object, owned: Sequence[Object]) -> giving_up.Judgement:
        """Say whether the Workspace has failed for too long to go on paying."""
        deployed = self._informers.deployments.store.get(key(live))
        return giving_up.judge(
            live,
            [machine for machine in owned if is_made(machine)],
            deployed,
            timedelta(seconds=self._provisioning.settings.keep_failed_seconds),
            self._clock.now(),
        )


def _too_many(workspace: Workspace, made: int, most: int) -> tuple[str, str]:
    """Say that a Workspace asks for more nodes than it may have made."""
    return WithheldReason.WORKSPACE_MACHINE_LIMIT_EXCEEDED, (
        f"resource.count: found {workspace.resource.count}, for which {made} nodes "
        f"would be made; the operator makes at most {most} for one Workspace: ask for "
        "fewer, prepare nodes, or have provisioning.maxMachinesPerWorkspace raised"
    )


def _beyond_limit(lacking: int, count: int, most: int) -> tuple[str, str]:
    """Say that all Workspaces together have as many nodes made as they may."""
    return WithheldReason.MACHINE_LIMIT_REACHED, (
        f"{lacking} of {count} nodes are not made: the operator makes at most {most} "
        "in all; it goes on when another Workspace gives one back, or when "
        "provisioning.maxMachines is raised"
    )


def _made_of(workspace: Workspace, owned: Sequence[Object], maker: str) -> Made:
    """Return what the maker made; what another did is on its way out."""
    slots, leaving, nodes = {}, [], {}
    for machine in owned:
        slot = slot_of(machine, workspace.metadata.name)
        if slot is None:
            continue
        if _is_leaving(machine) or machine["spec"]["provisioner"] != maker:
            leaving.append(slot)
            continue
        slots[slot] = is_ready(machine)
        if node := node_of(machine):
            nodes[slot] = node
    return Made(slots, leaving, nodes)


def _lost(owned: Sequence[Object]) -> set[str]:
    """Return the prepared nodes that were away, or of no use, for too long."""
    return {
        node_of(machine)
        for machine in owned
        if not is_made(machine)
        and (machine.get("status") or {}).get("phase") == MachinePhase.FAILED
    }


def _is_leaving(machine: Object) -> bool:
    return bool(machine["metadata"].get("deletionTimestamp"))
