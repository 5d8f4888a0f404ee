"""Applies what serves the model and says how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pykaito.api.conditions import InferenceReason, WorkspaceCondition
from pykaito.api.labels import WORKSPACE
from pykaito.api.parse import parse
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.errors import FieldConflict
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object, key, labels, name
from pykaito.operator.reconcile import Request
from pykaito.operator.store import OWNER_UID
from pykaito.reconcilers.apply import Applier
from pykaito.reconcilers.conditions import Condition, changed, merge, with_help
from pykaito.reconcilers.inference import manifests
from pykaito.reconcilers.inference.diagnosis import diagnose
from pykaito.reconcilers.status import write_status
from pykaito.reconcilers.workspace.status import is_ready
from pykaito.reconcilers.writes import Note
from pykaito.runtime.presets.plan import Plan, PlanError, plan

FIELD_MANAGER = "pykaito-inference"

CONDITIONS = (WorkspaceCondition.INFERENCE_READY,)


@dataclass(frozen=True, slots=True)
class Informers:
    """The caches that the inference reconciler reads."""

    workspaces: Informer
    machines: Informer
    deployments: Informer
    services: Informer
    pods: Informer


class InferenceReconciler:
    """Keeps Service and Deployment as the plan wants them."""

    name = "inference"

    def __init__(
        self,
        client: Client,
        informers: Informers,
        events: EventRecorder,
        clock: Clock,
        written: WrittenVersions[Request],
        *,
        transformers_image: str,
    ) -> None:
        self._client = client
        self._informers = informers
        self._events = events
        self._clock = clock
        self._written = written
        self._image = transformers_image
        self._services = Applier(client, FIELD_MANAGER, informers.services)
        self._deployments = Applier(client, FIELD_MANAGER, informers.deployments)

    async def reconcile(self, request: Request) -> None:
        """Apply the workload once its nodes are ready, and keep it applied."""
        where = Key(request.namespace, request.name)
        live = self._informers.workspaces.store.get(where)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        note = partial(self._written.note, request)
        workspace = parse(Workspace, live)
        if workspace.inference is None:
            return
        try:
            planned = plan(workspace)
        except PlanError as error:
            await self._write(live, _failed(str(error), error.reason), note)
            return
        nodes = self._ready_nodes(live)
        deployed = self._informers.deployments.store.get(where)
        if deployed is None and len(nodes) < planned.nodes:
            await self._write(
                live,
                _pending(f"waiting for nodes: {len(nodes)} of {planned.nodes} ready"),
                note,
            )
            return
        condition = await self._serve(live, workspace, planned, nodes, note)
        await self._write(live, condition, note)

    def _ready_nodes(self, live: Object) -> list[str]:
        machines = self._informers.machines.store.by_index(
            OWNER_UID, live["metadata"]["uid"]
        )
        return sorted(
            machine["spec"]["nodeName"]
            for machine in machines
            if is_ready(machine) and not machine["metadata"].get("deletionTimestamp")
        )

    async def _serve(
        self,
        live: Object,
        workspace: Workspace,
        planned: Plan,
        nodes: Sequence[str],
        note: Note,
    ) -> Condition:
        service = await self._services.apply(manifests.service(workspace, live), note)
        deployed = self._informers.deployments.store.get(key(live))
        if deployed is not None and len(nodes) < planned.nodes:
            # A node is away. The pods that are left go on serving where they
            # are; new ones are not bound to fewer nodes for a while.
            nodes = manifests.bound_nodes(deployed)
        applied = await self._deployments.apply(
            manifests.deployment(
                workspace, live, planned, nodes=nodes, runtime_image=self._image
            ),
            note,
        )
        if deployed is None:
            self._events.normal(
                live, "WorkloadCreated", f"Deployment {name(live)} applied"
            )
        theirs = (*service.left_to_others, *applied.left_to_others)
        if service.newly_left or applied.newly_left:
            self._events.normal(live, "FieldsLeftToOwner", _describe(theirs))
        return self._judge(live, applied.obj, theirs)

    def _judge(
        self, live: Object, deployed: Object, theirs: Sequence[FieldConflict]
    ) -> Condition:
        """Say whether the applied Deployment serves, from what the cache shows."""
        note = f"; {_describe(theirs)}" if theirs else ""
        status = deployed.get("status") or {}
        wanted = deployed["spec"]["replicas"]
        current = status.get("observedGeneration") == deployed["metadata"]["generation"]
        if (
            current
            and status.get("availableReplicas", 0) >= wanted
            and status.get("updatedReplicas", 0) >= wanted
            and status.get("replicas", 0) == wanted
        ):
            return Condition(
                WorkspaceCondition.INFERENCE_READY,
                "True",
                InferenceReason.SUCCESS,
                f"{wanted} of {wanted} replicas serve{note}",
            )
        pods = [
            pod
            for pod in self._informers.pods.store.list(live["metadata"]["namespace"])
            if labels(pod).get(WORKSPACE) == name(live)
        ]
        found = diagnose(pods)
        if found.progressing:
            return _pending(found.message + note)
        return _failed(found.message + note, found.reason)

    async def _write(self, live: Object, condition: Condition, note: Note) -> None:
        written = (live.get("status") or {}).get("conditions", ())
        conditions = merge(
            written,
            [condition],
            generation=live["metadata"]["generation"],
            now=self._clock.now(),
        )
        await write_status(
            self._client,
            self._informers.workspaces,
            live,
            {"conditions": conditions},
            owned_conditions=CONDITIONS,
            field_manager=FIELD_MANAGER,
            note=note,
        )
        for turned in changed(written, conditions):
            ready = turned["status"] == "True"
            if ready or turned["reason"] != InferenceReason.PENDING:
                record = self._events.normal if ready else self._events.warning
                record(live, turned["reason"], turned["message"])


def _pending(message: str) -> Condition:
    return Condition(
        WorkspaceCondition.INFERENCE_READY, "False", InferenceReason.PENDING, message
    )


def _failed(message: str, reason: str) -> Condition:
    return Condition(
        WorkspaceCondition.INFERENCE_READY, "False", reason, with_help(message, reason)
    )


def _describe(theirs: Sequence[FieldConflict]) -> str:
    fields = sorted({f"{c.field} ({c.manager or 'someone else'})" for c in theirs})
    return f"left as their owners set them: {', '.join(fields)}"
