"""Applies what serves the model and says how far it is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pykaito.api.conditions import InferenceReason, WorkspaceCondition
from pykaito.api.labels import WORKSPACE
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.errors import (
    FieldConflict,
    InvalidError,
    TerminalError,
    UnavailableError,
)
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object, key, labels, name, namespace
from pykaito.operator.reconcile import Request, Result
from pykaito.operator.store import OWNER_UID
from pykaito.reconcilers.apply import HOPELESS, REFUSALS, Applied, Applier, refusal
from pykaito.reconcilers.checking import checked
from pykaito.reconcilers.conditions import changed, merge
from pykaito.reconcilers.inference import manifests
from pykaito.reconcilers.inference.adapter_lists import AdapterLists
from pykaito.reconcilers.inference.diagnosis import Diagnosis, Reported, pending
from pykaito.reconcilers.inference.image_volumes import dropped_image
from pykaito.reconcilers.inference.manifests import ConfigFile
from pykaito.reconcilers.inference.rollout import (
    Strategy,
    carried,
    interrupts,
    is_cordoned,
    lacking,
    strategy,
)
from pykaito.reconcilers.inference.stages import startup
from pykaito.reconcilers.inference.status import CONDITIONS, conditions, judge
from pykaito.reconcilers.lookups import Lookups
from pykaito.reconcilers.metrics import STARTUP_SECONDS
from pykaito.reconcilers.planning import choose, plan_on
from pykaito.reconcilers.status import write_status
from pykaito.reconcilers.workspace.claims import held_by_others
from pykaito.reconcilers.workspace.machines import node_of
from pykaito.reconcilers.workspace.status import is_ready
from pykaito.reconcilers.writes import Note
from pykaito.runtime.presets.plan import Known, Plan, PlanError
from pykaito.runtime.presets.runtimes import Runtime

FIELD_MANAGER = "pykaito-inference"

POD_INDEX = "workspace"

#: Of the fields that are left to others; a message takes no more than a few.
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Informers:
    """The caches that the inference reconciler reads."""

    workspaces: Informer
    machines: Informer
    deployments: Informer
    services: Informer
    adapter_lists: Informer
    pods: Informer
    nodes: Informer


class InferenceReconciler:
    """Keeps Service, list of adapters and Deployment as the plan wants them."""

    name = "inference"

    def __init__(
        self,
        client: Client,
        informers: Informers,
        events: EventRecorder,
        clock: Clock,
        written: WrittenVersions[Request],
        lookups: Lookups,
        *,
        images: Mapping[Runtime, str],
        hub_endpoint: str,
        reported: Reported,
    ) -> None:
        self._client = client
        self._informers = informers
        self._events = events
        self._clock = clock
        self._written = written
        self._lookups = lookups
        self._images = images
        self._hub = hub_endpoint
        self._reported = reported
        self._services = Applier(client, FIELD_MANAGER, informers.services)
        self._lists = AdapterLists(client, FIELD_MANAGER, informers.adapter_lists)
        self._deployments = Applier(client, FIELD_MANAGER, informers.deployments)
        informers.pods.store.add_index(POD_INDEX, workspace_of)

    async def reconcile(self, request: Request) -> Result | None:
        """Apply the workload once its nodes are ready, and keep it applied."""
        where = Key(request.namespace, request.name)
        live = self._informers.workspaces.store.get(where)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return None
        if not live.get("inference"):
            return None
        note = partial(self._written.note, request)
        try:
            workspace, _ = checked(live, self._informers.nodes.store.list())
            known = await self._lookups.known(workspace)
            config = await self._lookups.config_file(workspace)
            planned = self._plan(live, workspace, known)
        except PlanError as error:
            await self._unplanned(live, error, note)
            if error.terminal:
                return None
            raise UnavailableError(str(error)) from error
        brought = self._brought(live, workspace, known)
        return await self._keep(live, workspace, planned, brought, config, note)

    async def _keep(
        self,
        live: Object,
        workspace: Workspace,
        planned: Plan,
        brought: tuple[Workspace, Plan] | None,
        config: ConfigFile | None,
        note: Note,
    ) -> Result | None:
        """Apply what serves, where it is to be, and say how far it is."""
        if len(self._nodes(live, lambda _: True)) > planned.nodes:
            # Some are about to be given back, and each tells when it is.
            return None
        ready = self._nodes(live, is_ready)
        nodes = self._nodes_to_bind(live, ready, planned)
        if not nodes:
            await self._write(
                live,
                pending(f"waiting for nodes: {len(ready)} of {planned.nodes} ready"),
                note,
            )
            return None
        before = self._informers.deployments.store.get(key(live))
        rollout = self._rollout(live, planned, nodes)
        try:
            service = await self._services.apply(
                manifests.service(workspace, live), note
            )
            render = partial(
                manifests.deployment,
                owner=live,
                nodes=nodes,
                images=self._images,
                hub_endpoint=self._hub,
                config=config,
                surge=rollout.surge,
            )
            wanted = render(workspace, plan=planned)
            if before is not None and brought is not None:
                kept = render(brought[0], plan=brought[1])
                if manifests.is_template_of(kept, before):
                    wanted = kept
            adapters = await self._lists.apply(live, workspace, wanted, note)
            if before is not None and before["spec"]["replicas"] == 0:
                # Somebody did that. `kubectl scale` owns what it sets but for 0,
                # which an apply would undo.
                del wanted["spec"]["replicas"]
            applied = await self._deployments.apply(wanted, note)
        except REFUSALS as error:
            reason, message = refusal(error, namespace(live))
            stalled = reason in HOPELESS
            await self._write(live, Diagnosis(reason, message, stalled=stalled), note)
            raise
        parts = [service, *adapters.applied, applied]
        theirs = tuple(left for part in parts for left in part.left_to_others)
        newly_left = any(part.newly_left for part in parts)
        await self._lists.prune(live, applied.obj)
        self._tell(live, before, applied, rollout, adapters.change)
        # After a restart all is new to this process, and told already.
        if newly_left and _describe(theirs) not in self._told(live):
            self._events.normal(live, "FieldsLeftToOwner", _describe(theirs))
        found = dropped_image(wanted, applied.obj, live) or judge(
            applied.obj, self._pods(live), live, self._clock.now(), self._reported
        )
        await self._write(live, found, note, remark=_describe(theirs))
        if found.reason == InferenceReason.SUCCESS:
            self._measure(live, applied.obj)
        pauses = [found.look_again, rollout.look_again]
        return Result(min(filter(None, pauses), default=None))

    def _brought(
        self, live: Object, workspace: Workspace, known: Known
    ) -> tuple[Workspace, Plan] | None:
        """Return the Workspace with what its pods have of adapters, if that will do."""
        deployed = self._informers.deployments.store.get(key(live))
        brought = manifests.with_brought(workspace, deployed, self._pods(live))
        if brought is None:
            return None
        try:
            return brought, self._plan(live, brought, known)
        except PlanError:
            # What is wanted has a plan; what is there beside it may have none.
            return None

    async def _unplanned(self, live: Object, error: PlanError, note: Note) -> None:
        """Say why there is no plan; an object that cannot even hold that is left."""
        if not error.terminal and self._is_judged(live):
            return
        found = Diagnosis(error.reason, str(error), stalled=error.terminal)
        try:
            await self._write(live, found, note)
        except InvalidError as refused:
            raise TerminalError(f"{error}; its status cannot be written") from refused

    def _is_judged(self, live: Object) -> bool:
        """Whether there is a workload of this very spec, and it is told how it is."""
        observed = (_inference_ready(live) or {}).get("observedGeneration")
        return (
            observed == live["metadata"]["generation"]
            and self._informers.deployments.store.get(key(live)) is not None
        )

    def _plan(self, live: Object, workspace: Workspace, known: Known) -> Plan:
        nodes = self._informers.nodes.store.list()
        machines = self._wanted_machines(live)
        if not machines:
            return choose(workspace, nodes, known=known)[1]
        taken = [node for machine in machines if (node := node_of(machine))]
        to_come = len(taken) < len(machines)
        return plan_on(workspace, taken, nodes, known, to_come=to_come)

    def _wanted_machines(self, live: Object) -> list[Object]:
        machines = self._informers.machines.store.by_index(
            OWNER_UID, live["metadata"]["uid"]
        )
        return [m for m in machines if not m["metadata"].get("deletionTimestamp")]

    def _nodes(self, live: Object, counts: Callable[[Object], bool]) -> list[str]:
        return sorted(
            node
            for machine in self._wanted_machines(live)
            if counts(machine) and (node := node_of(machine))
        )

    def _nodes_to_bind(
        self, live: Object, ready: list[str], planned: Plan
    ) -> list[str]:
        """Return the nodes that pods may run on; none to apply no workload yet."""
        if len(ready) >= planned.nodes:
            return ready
        deployed = self._informers.deployments.store.get(key(live))
        if deployed is None:
            return []
        # A node is away, or one more is wanted. The pods that are there go on
        # serving where they are; they are not bound to other nodes for a while.
        return manifests.bound_nodes(deployed) or self._nodes(live, lambda _: True)

    def _rollout(self, live: Object, planned: Plan, nodes: Sequence[str]) -> Strategy:
        bound = [n for n in self._informers.nodes.store.list() if name(n) in nodes]
        lack = lacking(
            bound,
            planned.node_resources,
            held_by_others(self._informers.machines.store.list(), key(live)),
        )
        deployed = self._informers.deployments.store.get(key(live))
        if deployed:
            claims = manifests.mounted_claims(deployed["spec"]["template"]["spec"])
            before = manifests.bound_nodes(deployed)
            lack = lack or carried(claims, before, nodes)
        return strategy(
            deployed,
            self._pods(live),
            lack,
            replicas=min(planned.nodes, len(nodes)),
            cordoned=bool(bound) and all(map(is_cordoned, bound)),
            now=self._clock.now(),
        )

    def _pods(self, live: Object) -> Sequence[Object]:
        return self._informers.pods.store.by_index(POD_INDEX, str(key(live)))

    def _tell(
        self,
        live: Object,
        before: Object | None,
        applied: Applied,
        rollout: Strategy,
        changed_list: str,
    ) -> None:
        """Record what an apply of the Deployment or of the list began."""
        if applied.created:
            self._events.normal(
                live, "WorkloadCreated", f"Deployment {name(live)} applied"
            )
        elif interrupts(before, applied.obj):
            why = rollout.why_not or "somebody else chose its strategy"
            self._events.warning(
                live,
                "RolloutWithDowntime",
                f"the model is not served until its new pod is: {why}",
            )
        elif before and before["spec"]["template"] != applied.obj["spec"]["template"]:
            self._events.normal(
                live, "RolloutStarted", "pods of the current spec replace the old ones"
            )
        elif changed_list:
            self._events.normal(
                live,
                "AdaptersChanged",
                f"running servers follow within about two minutes: {changed_list}",
            )

    def _measure(self, live: Object, deployed: Object) -> None:
        """Tell Prometheus what a start took, now that its end has been written."""
        machines = self._wanted_machines(live)
        for stage, seconds in startup(
            live, deployed, machines, self._pods(live)
        ).items():
            STARTUP_SECONDS.labels(stage).observe(seconds)

    @staticmethod
    def _told(live: Object) -> str:
        """Return InferenceReady's message as it is written."""
        return str((_inference_ready(live) or {}).get("message", ""))

    async def _write(
        self, live: Object, found: Diagnosis, note: Note, remark: str = ""
    ) -> None:
        written = (live.get("status") or {}).get("conditions", ())
        wanted = merge(
            written,
            conditions(found, remark),
            generation=live["metadata"]["generation"],
            now=self._clock.now(),
        )
        await write_status(
            self._client,
            self._informers.workspaces,
            live,
            {"conditions": wanted},
            owned_conditions=CONDITIONS,
            field_manager=FIELD_MANAGER,
            note=note,
        )
        for turned in changed(written, wanted):
            if turned["type"] != WorkspaceCondition.INFERENCE_READY:
                continue
            ready = turned["status"] == "True"
            if ready or turned["reason"] != InferenceReason.PENDING:
                record = self._events.normal if ready else self._events.warning
                record(live, turned["reason"], turned["message"])


def workspace_of(pod: Object) -> Iterable[str]:
    """Index pods by the Workspace that their label names."""
    workspace = labels(pod).get(WORKSPACE)
    return [str(Key(namespace(pod), workspace))] if workspace else []


def _inference_ready(live: Object) -> Mapping[str, Any] | None:
    """Return InferenceReady as it is written."""
    for condition in (live.get("status") or {}).get("conditions", ()):
        if condition["type"] == WorkspaceCondition.INFERENCE_READY:
            written: Mapping[str, Any] = condition
            return written
    return None


def _describe(theirs: Sequence[FieldConflict]) -> str:
    if not theirs:
        return ""
    fields = sorted({f"{c.field} ({c.manager or 'someone else'})" for c in theirs})
    more = len(fields) - MOST_NAMED
    others = f" and {more} more" if more > 0 else ""
    return f"left as their owners set them: {', '.join(fields[:MOST_NAMED])}{others}"
