"""Turns a Workspace into Machines and folds what happens into its status."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from pykaito.api import labels
from pykaito.api.conditions import NodeReason, WorkspaceCondition
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.errors import (
    ApiError,
    InvalidError,
    NotFoundError,
    TerminalError,
    UnavailableError,
)
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.objects import (
    Key,
    Object,
    key,
    name,
    namespace,
    uid,
)
from pykaito.operator.reconcile import Request, Result
from pykaito.operator.store import OWNER_UID
from pykaito.reconcilers.apply import REFUSALS, Applier, refusal
from pykaito.reconcilers.checking import checked
from pykaito.reconcilers.conditions import Condition, changed, merge
from pykaito.reconcilers.finalizers import add_finalizer, remove_finalizer
from pykaito.reconcilers.lookups import Lookups
from pykaito.reconcilers.provisioning import Provisioning
from pykaito.reconcilers.resources import MACHINES
from pykaito.reconcilers.status import write_status
from pykaito.reconcilers.workspace import status
from pykaito.reconcilers.workspace.nodes import Selection
from pykaito.reconcilers.workspace.wants import NO_CHOICE, Informers, Wanted, Wants
from pykaito.reconcilers.writes import Note
from pykaito.runtime.presets.plan import PlanError

FIELD_MANAGER = "pykaito-workspace"

#: What the status tells beside state and conditions.
DETAILS = ("targetNodeCount", "workerNodes", "url")

log = structlog.get_logger()


class WorkspaceReconciler:
    """One Machine per node, a status that explains, and a clean end."""

    name = "workspace"

    def __init__(
        self,
        client: Client,
        informers: Informers,
        events: EventRecorder,
        clock: Clock,
        written: WrittenVersions[Request],
        lookups: Lookups,
        provisioning: Provisioning,
    ) -> None:
        self._client = client
        self._workspaces = informers.workspaces
        self._machines = informers.machines
        self._nodes = informers.nodes
        self._events = events
        self._clock = clock
        self._written = written
        self._lookups = lookups
        self._applier = Applier(client, FIELD_MANAGER, informers.machines)
        self._wants = Wants(informers, provisioning, clock)

    async def reconcile(self, request: Request) -> Result | None:
        """Bring Machines and status in line with the spec."""
        live = self._workspaces.store.get(Key(request.namespace, request.name))
        if live is None:
            self._wants.forget(Key(request.namespace, request.name))
            return None
        note = partial(self._written.note, request)
        if live["metadata"].get("deletionTimestamp"):
            await self._finish(live, note)
            return None
        live = await add_finalizer(
            self._client, self._workspaces, live, labels.WORKSPACE_FINALIZER, note
        )
        owned = self._owned_machines(live)
        try:
            workspace, doubts = checked(live, self._nodes.store.list())
            known = await self._lookups.known(workspace)
            wanted = self._wants.of(live, workspace, owned, known)
        except PlanError as error:
            await self._unplanned(live, error, note)
            if error.terminal:
                return None
            raise UnavailableError(str(error)) from error
        await self._serve(live, wanted, doubts, note)
        return Result(wanted.look_again)

    async def _unplanned(self, live: Object, error: PlanError, note: Note) -> None:
        """Say why there is no plan. What an earlier one brought stays as it is.

        Raises:
            TerminalError: the object is such that not even its status is taken.
        """
        written = live.get("status") or {}
        kept = {field: written[field] for field in DETAILS if field in written}
        if "workerNodes" in kept:
            kept["workerNodes"] = status.worker_nodes(self._owned_machines(live))
        if error.terminal:
            progress = status.stalled(error, tuning="tuning" in live)
        else:
            progress = self._fold(live, *self._unknown_for_now(live, error))
        try:
            await self._write(live, progress, kept, note)
        except InvalidError as refused:
            raise TerminalError(f"{error}; its status cannot be written") from refused

    def _unknown_for_now(self, live: Object, error: PlanError) -> tuple[Condition, ...]:
        """Return ResourceReady while a plan cannot be made, though it may be later.

        What was planned for this very spec goes on, as after a restart.
        """
        written, owned = live.get("status") or {}, self._owned_machines(live)
        if (
            owned
            and "targetNodeCount" in written
            and written.get("observedGeneration") == live["metadata"]["generation"]
        ):
            return self._resources(owned, NO_CHOICE, written["targetNodeCount"])
        return (status.refused(error.reason, str(error)),)

    async def _serve(
        self, live: Object, wanted: Wanted, doubts: Sequence[str], note: Note
    ) -> None:
        owned, planned = self._owned_machines(live), wanted.plan
        refused: ApiError | None = None
        machines = owned
        try:
            machines = await self._bring(
                live, wanted, owned, (*doubts, *planned.warnings), note
            )
            resources = self._resources(machines, wanted.selection, planned.nodes)
            if wanted.withheld and resources[-1].status != "True":
                resources = (*resources[:-1], status.refused(*wanted.withheld))
        except REFUSALS as error:
            refused = error
            resources = (status.refused(*refusal(error, namespace(live))),)
        details = {
            "targetNodeCount": planned.nodes,
            "workerNodes": status.worker_nodes(machines),
            "url": f"http://{name(live)}.{live['metadata']['namespace']}.svc",
        }
        await self._write(live, self._fold(live, *resources), details, note)
        if refused is not None:
            raise refused

    async def _bring(
        self,
        live: Object,
        wanted: Wanted,
        owned: Sequence[Object],
        warnings: Sequence[str],
        note: Note,
    ) -> Sequence[Object]:
        """Apply the wanted Machines and delete the others; return the wanted.

        The plan and its warnings are told once, with the first Machine.
        """
        told = bool(owned)
        surplus = {name(machine): machine for machine in owned}
        machines = []
        for machine in wanted.machines:
            current = surplus.pop(name(machine), None)
            if current is None:
                applied = await self._applier.apply(machine, note)
                if applied.created:
                    if not told:
                        self._events.normal(
                            live, "Planned", status.planned(wanted.plan)
                        )
                    self._events.normal(live, "MachineCreated", _told(machine))
                    for warning in () if told else warnings:
                        self._events.warning(live, "PlanWarning", warning)
                    told = True
                machines.append(applied.obj)
                continue
            # One that someone deleted comes back once it is gone.
            if not current["metadata"].get("deletionTimestamp"):
                await self._applier.apply(machine, note)
            machines.append(current)
        for machine in surplus.values():
            await self._delete(machine)
        return machines

    async def _finish(self, live: Object, note: Note) -> None:
        """Release every Machine, then let the Workspace go."""
        self._wants.forget(key(live))
        owned = self._owned_machines(live)
        if not owned:
            await remove_finalizer(
                self._client, self._workspaces, live, labels.WORKSPACE_FINALIZER, note
            )
            return
        for machine in owned:
            await self._delete(machine)
        progress = status.Progress(
            (live.get("status") or {}).get("state") or "Pending",
            status.deleting(owned),
        )
        await self._write(live, progress, {}, note)

    def _owned_machines(self, live: Object) -> Sequence[Object]:
        return sorted(self._machines.store.by_index(OWNER_UID, uid(live)), key=name)

    async def _delete(self, machine: Object) -> None:
        if machine["metadata"].get("deletionTimestamp"):
            return
        metadata = machine["metadata"]
        try:
            await self._client.delete(
                MACHINES,
                metadata["name"],
                namespace=metadata["namespace"],
                uid=metadata["uid"],
            )
        except NotFoundError:
            log.debug("machine was gone already", machine=metadata["name"])

    def _fold(self, live: Object, *resources: Condition) -> status.Progress:
        return status.fold(
            resources,
            (live.get("status") or {}).get("conditions", ()),
            generation=live["metadata"]["generation"],
            previous_state=(live.get("status") or {}).get("state", ""),
        )

    def _resources(
        self, machines: Sequence[Object], selection: Selection, count: int
    ) -> tuple[Condition, ...]:
        """Return ResourceReady, and what it rests on before it."""
        nodes = {name(node): node for node in self._nodes.store.list()}
        return (
            *status.node_claims_ready(machines, count),
            status.nodes_ready(machines, nodes, count),
            status.resources(machines, selection, count),
        )

    async def _write(
        self,
        live: Object,
        progress: status.Progress,
        details: dict[str, Any],
        note: Note,
    ) -> None:
        written = (live.get("status") or {}).get("conditions", ())
        conditions = merge(
            written,
            progress.conditions,
            generation=live["metadata"]["generation"],
            now=self._clock.now(),
        )
        await write_status(
            self._client,
            self._workspaces,
            live,
            {
                **details,
                "state": progress.state,
                "observedGeneration": live["metadata"]["generation"],
                "conditions": conditions,
            },
            owned_conditions=status.CONDITIONS,
            field_manager=FIELD_MANAGER,
            note=note,
        )
        turned = {c["type"]: c for c in changed(written, conditions)}
        if deleting := turned.get(WorkspaceCondition.WORKSPACE_DELETING):
            self._events.normal(live, "Deleting", deleting["message"])
        stalled = turned.get(WorkspaceCondition.STALLED)
        if stalled and not _is_of_the_workload(stalled, written):
            self._events.warning(live, stalled["reason"], stalled["message"])
        elif resource := turned.get(WorkspaceCondition.RESOURCE_READY):
            if resource["status"] == "True":
                self._events.normal(live, "NodesReady", resource["message"])
            elif resource["reason"] != NodeReason.RESOURCE_NOT_READY:
                self._events.warning(live, resource["reason"], resource["message"])
        ready_now = turned.get(WorkspaceCondition.READY)
        if ready_now and ready_now["status"] == "True":
            self._events.normal(live, "Ready", ready_now["message"])


def _is_of_the_workload(
    stalled: Mapping[str, Any], written: Iterable[Mapping[str, Any]]
) -> bool:
    """Whether the inference reconciler found it, which told of the cause already."""
    of_workload = (WorkspaceCondition.INFERENCE_STALLED, stalled["reason"])
    return of_workload in {(c["type"], c["reason"]) for c in written}


def _told(machine: Mapping[str, Any]) -> str:
    """Return what a Machine asks for, as a sentence."""
    spec = machine["spec"]
    if node := spec.get("nodeName"):
        return f"node {node!r} chosen"
    return f"a node of type {spec['instanceType']} asked for from {spec['provisioner']}"
