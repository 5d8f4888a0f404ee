"""Drives a Machine's provisioner and writes what it sees into the status."""

from collections.abc import Mapping
from functools import partial

from pykaito.api.conditions import MachineCondition
from pykaito.api.labels import MACHINE_FINALIZER
from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object
from pykaito.operator.reconcile import Request
from pykaito.provisioners.protocol import (
    Check,
    MachineReason,
    Observation,
    Provisioner,
)
from pykaito.reconcilers.conditions import Condition, changed, merge, with_help
from pykaito.reconcilers.finalizers import remove_finalizer
from pykaito.reconcilers.parsed import parsed
from pykaito.reconcilers.status import write_status
from pykaito.reconcilers.writes import Note

FIELD_MANAGER = "pykaito-machine"

CONDITIONS = (
    MachineCondition.LAUNCHED,
    MachineCondition.REGISTERED,
    MachineCondition.INITIALIZED,
    MachineCondition.READY,
)


class MachineReconciler:
    """Launches, observes and releases through the Machine's provisioner."""

    name = "machine"

    def __init__(
        self,
        client: Client,
        machines: Informer,
        provisioners: Mapping[str, Provisioner],
        events: EventRecorder,
        clock: Clock,
        written: WrittenVersions[Request],
    ) -> None:
        self._client = client
        self._machines = machines
        self._provisioners = provisioners
        self._events = events
        self._clock = clock
        self._written = written

    async def reconcile(self, request: Request) -> None:
        """Move the node one step and report; watches bring the next step."""
        live = self._machines.store.get(Key(request.namespace, request.name))
        if live is None:
            return
        note = partial(self._written.note, request)
        machine = parsed(Machine, live)
        provisioner = self._provisioners.get(machine.spec.provisioner)
        if live["metadata"].get("deletionTimestamp"):
            await self._release(live, machine, provisioner, note)
        elif provisioner is None:
            await self._write(live, self._unknown(machine), note)
        else:
            await provisioner.launch(machine)
            await self._write(live, await provisioner.observe(machine), note)

    async def _release(
        self,
        live: Object,
        machine: Machine,
        provisioner: Provisioner | None,
        note: Note,
    ) -> None:
        """Give the node back, then let the Machine go.

        Without its provisioner nobody knows how: a Machine that went away would
        leave a node that somebody pays for.
        """
        if MACHINE_FINALIZER not in live["metadata"].get("finalizers", ()):
            return
        if provisioner is None:
            await self._write(live, self._unknown(machine), note)
        elif await provisioner.release(machine):
            await remove_finalizer(
                self._client, self._machines, live, MACHINE_FINALIZER, note
            )
        else:
            await self._write(live, await provisioner.observe(machine), note)

    def _unknown(self, machine: Machine) -> Observation:
        check = Check(
            ok=False,
            reason=MachineReason.PROVISIONER_NOT_FOUND,
            message=f"spec.provisioner: found {machine.spec.provisioner!r}; installed "
            f"are {', '.join(sorted(self._provisioners))}",
        )
        return Observation(check, check, check)

    async def _write(self, live: Object, seen: Observation, note: Note) -> None:
        conditions = merge(
            (live.get("status") or {}).get("conditions", ()),
            conditions_of(seen),
            generation=live["metadata"]["generation"],
            now=self._clock.now(),
        )
        turned = changed((live.get("status") or {}).get("conditions", ()), conditions)
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "phase": "Releasing"
            if live["metadata"].get("deletionTimestamp")
            else phase(seen),
            "conditions": conditions,
        }
        if seen.node_name:
            status["nodeName"] = seen.node_name
        if seen.provider_id:
            status["providerID"] = seen.provider_id
        await write_status(
            self._client,
            self._machines,
            live,
            status,
            owned_conditions=CONDITIONS,
            field_manager=FIELD_MANAGER,
            note=note,
        )
        for condition in turned:
            if condition["type"] != MachineCondition.READY:
                continue
            record = (
                self._events.normal
                if condition["status"] == "True"
                else self._events.warning
            )
            record(live, condition["reason"], condition["message"])


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
    return Condition(
        kind, "False", check.reason, with_help(check.message, check.reason)
    )


def phase(seen: Observation) -> str:
    """Return the furthest step that the Machine has reached."""
    if seen.initialized.ok:
        return "Ready"
    if seen.registered.ok:
        return "Registered"
    return "Launched" if seen.launched.ok else "Pending"
