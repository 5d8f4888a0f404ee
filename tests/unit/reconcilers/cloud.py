"""A cloud in memory that a provisioner of its own makes nodes from.

It stands in for what makes nodes, so that what the reconcilers decide can be seen; the
provisioners that come with the operator have tests against the real thing.
"""

import contextlib
from dataclasses import dataclass, field

from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.errors import NotFoundError
from pykaito.operator.objects import NODES, Key
from pykaito.provisioners.errors import (
    InvalidRequestError,
    LaunchReason,
    ProvisionError,
)
from pykaito.provisioners.naming import by_instance, instance_name, key_of, node_labels
from pykaito.provisioners.node_checks import check_initialized
from pykaito.provisioners.protocol import (
    Check,
    Context,
    MachineReason,
    Observation,
    Provisioner,
    Watch,
)
from tests.unit.reconcilers.workspaces import node

PENDING = Check(ok=False, reason=LaunchReason.LAUNCHING, message="on its way")


@dataclass
class Cloud:
    """What is made, and how the next launches end.

    Attributes:
        joins: whether what is made becomes a node at once.
        errors: raised by the next launches, one each; None for a success.
        launches: names of the Machines that an instance was asked for, in order.
        releases: names of the Machines whose instance was given back, in order.
        instances: what there is, by the name of its Machine.
        releasing: whether giving back takes until somebody says that it is done.
        failed: why instances can never become nodes, by their Machines.
        refusals: raised by the next tries to give an instance back, one each.
    """

    joins: bool = True
    errors: list[ProvisionError | None] = field(default_factory=list)
    launches: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    instances: dict[str, str] = field(default_factory=dict)
    releasing: bool = False
    failed: dict[str, ProvisionError] = field(default_factory=dict)
    refusals: list[ProvisionError] = field(default_factory=list)

    def __call__(self, context: Context) -> Provisioner:
        """Return the provisioner, as an entry point does."""
        return _Cloud(self, context)


class _Cloud(Provisioner):
    name = "cloud"
    makes_nodes = True

    def __init__(self, cloud: Cloud, context: Context) -> None:
        self._cloud = cloud
        self._client = context.client
        self._machines = context.machines
        self._nodes = context.cache.informer(NODES)
        self._machines.store.add_index("cloud", by_instance)

    @property
    def watches(self) -> tuple[Watch, ...]:
        def of(found: object) -> list[Key]:
            labels = found["metadata"].get("labels") or {}  # type: ignore[index]
            machines = self._machines.store.by_index(
                "cloud", labels.get("kaito.sh/machine", "")
            )
            return [Key("default", m["metadata"]["name"]) for m in machines]

        return (Watch(self._nodes, of),)

    def check(self, machine: Machine) -> tuple[str, ...]:
        if "example.com/reserved" in machine.spec.labels:
            raise InvalidRequestError(
                "spec.labels", "found 'example.com/reserved', which the cloud sets"
            )
        return ()

    async def launch(self, machine: Machine) -> None:
        cloud, name = self._cloud, machine.metadata.name
        error = cloud.errors.pop(0) if cloud.errors else None
        if error is not None:
            raise error
        if cloud.joins:
            made = node(f"node-{name}", labels=node_labels(machine))
            await self._client.create(NODES, made)
        cloud.launches.append(name)
        cloud.instances[name] = f"node-{name}"

    async def observe(self, machine: Machine) -> Observation:
        name = machine.metadata.name
        made = self._cloud.instances.get(name)
        if made is None:
            return Observation(PENDING, PENDING, PENDING, exists=False)
        launched = Check(ok=True, reason=MachineReason.LAUNCHED)
        failure = self._cloud.failed.get(name)
        there = self._nodes.store.get(Key("", made))
        instance = instance_name(key_of(machine))
        if there is None:
            missing = Check(
                ok=False,
                reason=MachineReason.NOT_REGISTERED,
                message=f"node {made!r} is not there",
            )
            return Observation(
                launched, missing, missing, instance=instance, failure=failure
            )
        return Observation(
            launched,
            Check(ok=True, reason=MachineReason.REGISTERED),
            check_initialized(there, machine.spec.resources),
            node_name=made,
            instance=instance,
            failure=failure,
        )

    async def release(self, machine: Machine) -> bool:
        name = machine.metadata.name
        made = self._cloud.instances.get(name)
        if made is None:
            return True
        if self._cloud.releasing:
            return False
        if self._cloud.refusals:
            raise self._cloud.refusals.pop(0)
        self._cloud.releases.append(name)
        self._cloud.failed.pop(name, None)
        with contextlib.suppress(NotFoundError):
            await self._client.delete(NODES, made)
        del self._cloud.instances[name]
        return True
