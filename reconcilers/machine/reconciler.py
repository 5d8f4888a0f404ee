"""Drives a Machine's provisioner and writes what it sees into the status."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

import structlog

from pykaito.api.conditions import MachineCondition
from pykaito.api.labels import MACHINE_FINALIZER
from pykaito.api.v1alpha1.machine import (
    Machine,
    MachineFailure,
    MachinePhase,
)
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.errors import ForbiddenError, InvalidError
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object
from pykaito.operator.reconcile import Request, Result
from pykaito.provisioners.errors import LaunchError, ProvisionError
from pykaito.provisioners.protocol import (
    Check,
    MachineReason,
    Observation,
    Provisioner,
)
from pykaito.reconcilers.conditions import changed, merge
from pykaito.reconcilers.finalizers import add_finalizer, remove_finalizer
from pykaito.reconcilers.machine.lifecycle import (
    Fail,
    GiveBack,
    Keep,
    Launch,
    Lost,
    Pause,
    Policy,
    decide,
    failed,
)
from pykaito.reconcilers.machine.report import (
    Report,
    details,
    pausing,
    without_instance,
)
from pykaito.reconcilers.machine.status import (
    CONDITIONS,
    conditions_of,
    explained,
    launching,
    phase,
    unavailable,
)
from pykaito.reconcilers.metrics import MACHINE_FAILURES
from pykaito.reconcilers.parsed import parsed
from pykaito.reconcilers.resources import MACHINES
from pykaito.reconcilers.status import write_status
from pykaito.reconcilers.writes import Note

MACHINE_CONTROLLER = "machine"
FIELD_MANAGER = "pykaito-machine"

RELEASE_PAUSE = 30.0
"""Seconds until a release that could not be done is tried again."""

log = structlog.get_logger()


class MachineReconciler:
    """Launches, observes, replaces and releases through the Machine's provisioner.

    A cloud knows of no lease. So it is checked before each call that changes something.
    """

    name = MACHINE_CONTROLLER

    def __init__(
        self,
        client: Client,
        machines: Informer,
        provisioners: Mapping[str, Provisioner],
        events: EventRecorder,
        clock: Clock,
        written: WrittenVersions[Request],
        policy: Policy,
    ) -> None:
        self._client = client
        self._machines = machines
        self._provisioners = provisioners
        self._events = events
        self._clock = clock
        self._written = written
        self._policy = policy

    async def reconcile(self, request: Request) -> Result | None:
        """Move the node one step and report; watches bring the next step."""
        live = self._machines.store.get(Key(request.namespace, request.name))
        if live is None:
            return None
        note = partial(self._written.note, request)
        machine = parsed(Machine, live)
        provisioner = self._provisioners.get(machine.spec.provisioner)
        if live["metadata"].get("deletionTimestamp"):
            return await self._release(live, machine, provisioner, note)
        if provisioner is None:
            await self._write(live, self._unknown(machine), note)
            return None
        return await self._advance(live, machine, provisioner, note)

    async def _advance(
        self, live: Object, machine: Machine, provisioner: Provisioner, note: Note
    ) -> Result | None:
        """Do the next thing for a Machine that is wanted."""
        seen = await provisioner.observe(machine)
        now = self._clock.now()
        status = machine.status
        step = decide(
            status, seen, self._policy, now, makes_nodes=provisioner.makes_nodes
        )
        kept = Report(
            replace(seen, node_name=seen.node_name or status.node_name or ""),
            phase(seen),
            status.launch_time or (now if provisioner.makes_nodes else None),
            status.ready_time or (now if seen.initialized.ok else None),
            status.failures,
            status.last_failure,
        )
        match step:
            case Keep(until=until):
                if seen.initialized.ok:
                    kept = replace(kept, failures=0, last_failure=None)
                await self._write(live, kept, note)
                return _look_again(now, seen.look_again, until)
            case Launch():
                return await self._launch(live, machine, provisioner, note)
            case Pause(until=until):
                await self._write(live, pausing(status), note)
                return _look_again(now, None, until)
            case Lost(failure=failure):
                return await self._told(live, machine, failure, now, note)
            case Fail(failure=failure):
                if not seen.exists:
                    message = explained(machine, failure)
                    seen = unavailable(str(failure.reason), message)
                failed_one = replace(kept, seen=seen, phase=MachinePhase.FAILED)
                await self._write(live, failed_one, note)
                return _look_again(now, seen.look_again, None)
            case GiveBack(failure=failure):
                return await self._give_back(
                    live, machine, provisioner, seen, failure, note
                )

    async def _launch(
        self, live: Object, machine: Machine, provisioner: Provisioner, note: Note
    ) -> Result | None:
        # Machines of Workspaces have it from the start, those of people may not.
        live = await add_finalizer(
            self._client, self._machines, live, MACHINE_FINALIZER, note
        )
        self._client.check_write(MACHINES)
        try:
            await provisioner.launch(machine)
        except ProvisionError as failure:
            return await self._told(live, machine, failure, self._clock.now(), note)
        except (InvalidError, ForbiddenError) as error:
            # What retries alone will not mend has to reach whoever can.
            refused = LaunchError(f"the API server refused it: {error.message}")
            return await self._told(live, machine, refused, self._clock.now(), note)
        now = self._clock.now()
        self._events.normal(live, "Launching", launching(machine).launched.message)
        asked = Report(
            launching(machine),
            MachinePhase.PENDING,
            now,
            failures=machine.status.failures,
            last_failure=machine.status.last_failure,
        )
        await self._write(live, asked, note, now=now)
        # The next look follows from what the launch brings; this one is for a
        # provisioner that nothing tells of it.
        seen = await provisioner.observe(machine)
        return _look_again(now, seen.look_again or self._policy.launch_seconds, None)

    async def _told(
        self,
        live: Object,
        machine: Machine,
        failure: ProvisionError,
        now: datetime,
        note: Note,
    ) -> Result | None:
        """Write that there is no instance, and come back for the next try."""
        count, last = self._count(machine, failure, now)
        await self._write(live, without_instance(count, last), note)
        return _look_again(now, None, last.retry_time)

    async def _give_back(
        self,
        live: Object,
        machine: Machine,
        provisioner: Provisioner,
        seen: Observation,
        failure: ProvisionError | None,
        note: Note,
    ) -> Result | None:
        """Release an instance that another one is to replace.

        It is written first: were it released first, a restart would take it for lost.
        """
        now, look_again = self._clock.now(), seen.look_again
        count, last = machine.status.failures, machine.status.last_failure
        if failure is not None:
            count, last = self._count(machine, failure, now)
        if last is not None:
            seen = replace(
                unavailable(last.reason, f"{last.message}; it is given back"),
                exists=True,
                instance=seen.instance,
            )
        report = Report(
            seen,
            MachinePhase.REPLACING,
            machine.status.launch_time,
            failures=count,
            last_failure=last,
        )
        await self._write(live, report, note)
        self._client.check_write(MACHINES)
        try:
            gone = await provisioner.release(machine)
        except ProvisionError as error:
            log.warning("could not give an instance back", error=str(error))
            return Result(error.retry_after or RELEASE_PAUSE)
        return Result(1.0 if gone else look_again or RELEASE_PAUSE)

    def _count(
        self, machine: Machine, failure: ProvisionError, now: datetime
    ) -> tuple[int, MachineFailure]:
        MACHINE_FAILURES.labels(machine.spec.provisioner, str(failure.reason)).inc()
        message = explained(machine, failure)
        return failed(machine.status, failure, message, now)

    async def _release(
        self,
        live: Object,
        machine: Machine,
        provisioner: Provisioner | None,
        note: Note,
    ) -> Result | None:
        """Give the node back, then let the Machine go.

        Without its provisioner nobody knows how: a Machine that went away would
        leave a node that somebody pays for.
        """
        if MACHINE_FINALIZER not in live["metadata"].get("finalizers", ()):
            return None
        if provisioner is None:
            unknown = replace(self._unknown(machine), phase=MachinePhase.RELEASING)
            await self._write(live, unknown, note)
            return None
        pause = None
        self._client.check_write(MACHINES)
        try:
            gone = await provisioner.release(machine)
        except ProvisionError as error:
            pause = error.retry_after or RELEASE_PAUSE
            seen = unavailable(str(error.reason), str(error), exists=True)
        else:
            if gone:
                await remove_finalizer(
                    self._client, self._machines, live, MACHINE_FINALIZER, note
                )
                return None
            seen = await provisioner.observe(machine)
            pause = seen.look_again
        report = Report(seen, MachinePhase.RELEASING, machine.status.launch_time)
        await self._write(live, report, note)
        return Result(pause)

    def _unknown(self, machine: Machine) -> Report:
        check = Check(
            ok=False,
            reason=MachineReason.PROVISIONER_NOT_FOUND,
            message=f"spec.provisioner: found {machine.spec.provisioner!r}; installed "
            f"are {', '.join(sorted(self._provisioners))}",
        )
        seen = Observation(check, check, check)
        return Report(seen, MachinePhase.PENDING, machine.status.launch_time)

    async def _write(
        self,
        live: Object,
        report: Report,
        note: Note,
        *,
        now: datetime | None = None,
    ) -> None:
        written = (live.get("status") or {}).get("conditions", ())
        conditions = merge(
            written,
            conditions_of(report.seen),
            generation=live["metadata"]["generation"],
            now=now or self._clock.now(),
        )
        turned = changed(written, conditions)
        await write_status(
            self._client,
            self._machines,
            live,
            {
                "observedGeneration": live["metadata"]["generation"],
                "phase": str(report.phase),
                "conditions": conditions,
                **details(report),
            },
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


def _look_again(
    now: datetime, seconds: float | None, until: datetime | None
) -> Result | None:
    """Return when to reconcile again: the earlier of the two, None for neither."""
    pauses = [] if seconds is None else [seconds]
    if until is not None:
        # A little later than the moment, so that it has passed by then.
        pauses.append(max((until - now).total_seconds(), 0.0) + 1.0)
    return Result(min(pauses)) if pauses else None
