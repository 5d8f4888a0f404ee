"""Which changes wake which reconciler."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pykaito.api import labels
from pykaito.operator.cache import Cache
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.controller import Controller
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.objects import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NODES,
    PODS,
    SERVICES,
    Key,
    Object,
    key,
    name,
    namespace,
)
from pykaito.operator.objects import labels as labels_of
from pykaito.operator.predicates import Predicate
from pykaito.operator.reconcile import Request
from pykaito.reconcilers.inference import status as inference_status
from pykaito.reconcilers.inference.loading.watch import LoadWatch
from pykaito.reconcilers.inference.reconciler import InferenceReconciler, Informers
from pykaito.reconcilers.lookups import Lookups
from pykaito.reconcilers.machine import status as machine_status
from pykaito.reconcilers.machine.reconciler import MachineReconciler
from pykaito.reconcilers.provisioning import Provisioning, ProvisioningSettings
from pykaito.reconcilers.resources import MACHINES, WORKSPACES
from pykaito.reconcilers.workspace import status as workspace_status
from pykaito.reconcilers.workspace.reconciler import WorkspaceReconciler
from pykaito.reconcilers.workspace.wants import Informers as WorkspaceInformers
from pykaito.runtime.presets.runtimes import Runtime

#: Workspaces by the ConfigMap of their settings.
CONFIG_MAP_INDEX = "configMap"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator is told from outside."""

    #: Image of each runtime.
    images: Mapping[Runtime, str]
    #: Where model servers download models from; the public hub if empty.
    hub_endpoint: str = ""
    provisioning: ProvisioningSettings = field(default_factory=ProvisioningSettings)


def controllers(
    client: Client,
    cache: Cache,
    events: EventRecorder,
    clock: Clock,
    written: WrittenVersions[Request],
    settings: Settings,
    lookups: Lookups,
    provisioning: Provisioning,
    loads: LoadWatch,
) -> Sequence[Controller]:
    """Build every controller on one cache."""
    workspaces = cache.informer(WORKSPACES)
    machines = cache.informer(MACHINES)
    nodes = cache.informer(NODES)
    deployments = cache.informer(DEPLOYMENTS, label_selector=labels.WORKSPACE)
    services = cache.informer(SERVICES, label_selector=labels.WORKSPACE)
    adapter_lists = cache.informer(CONFIG_MAPS, label_selector=labels.WORKSPACE)
    pods = cache.informer(PODS, label_selector=labels.WORKSPACE)

    workspaces.store.add_index(CONFIG_MAP_INDEX, lookups.configs.index)

    def workspaces_configured_by(config_map: Object) -> Iterable[Key]:
        found = workspaces.store.by_index(CONFIG_MAP_INDEX, str(key(config_map)))
        return [key(workspace) for workspace in found]

    def workspaces_that_may_use(node: Object) -> Iterable[Key]:
        return [
            key(workspace)
            for workspace in workspaces.store.list()
            if may_use(workspace, node)
        ]

    return (
        Controller(
            WorkspaceReconciler(
                client,
                WorkspaceInformers(workspaces, machines, nodes, deployments),
                events,
                clock,
                written,
                lookups,
                provisioning,
            ),
            for_=workspaces,
            owns=[machines],
            watches=[
                (nodes, workspaces_that_may_use, node_changed),
                (lookups.configs.metadata, workspaces_configured_by),
            ],
            predicates=[unless_reworded(workspace_status.CONDITIONS)],
        ),
        Controller(
            MachineReconciler(
                client,
                machines,
                provisioning.installed,
                events,
                clock,
                written,
                provisioning.settings.policy,
            ),
            for_=machines,
            watches=[
                (watch.informer, watch.machines)
                for provisioner in provisioning.installed.values()
                for watch in provisioner.watches
            ],
            channels=[provisioning.wake],
            predicates=[unless_reworded(machine_status.CONDITIONS)],
        ),
        Controller(
            InferenceReconciler(
                client,
                Informers(
                    workspaces,
                    machines,
                    deployments,
                    services,
                    adapter_lists,
                    pods,
                    nodes,
                ),
                events,
                clock,
                written,
                lookups,
                images=settings.images,
                hub_endpoint=settings.hub_endpoint,
                reported=loads.told,
            ),
            for_=workspaces,
            owns=[machines, deployments, services, adapter_lists],
            watches=[
                (pods, workspace_of_pod),
                (nodes, workspaces_that_may_use, node_changed),
                (lookups.configs.metadata, workspaces_configured_by),
            ],
            predicates=[
                unless_reworded(
                    (*inference_status.CONDITIONS, *workspace_status.CONDITIONS)
                )
            ],
            channels=[loads.news],
        ),
    )


def workspace_of_pod(pod: Object) -> Iterable[Key]:
    """Return the Workspace that a pod's label names."""
    workspace = labels_of(pod).get(labels.WORKSPACE)
    return [Key(namespace(pod), workspace)] if workspace else []


def unless_reworded(conditions: Collection[str]) -> Predicate:
    """Pass changes of an object but those of these conditions' messages alone.

    A reconciler that is refused tells it and backs off. It would be woken at once by
    what it told, and where each refusal reads differently, without end.
    """

    def without_words(obj: Object) -> Object:
        status = obj.get("status") or {}
        told = [
            {**condition, "message": ""}
            if condition["type"] in conditions
            else condition
            for condition in status.get("conditions") or ()
        ]
        metadata = {**obj["metadata"], "resourceVersion": ""}
        return {
            **obj,
            "metadata": metadata,
            "status": {**status, "conditions": told},
        }

    def passes(old: Object | None, new: Object | None) -> bool:
        if old is None or new is None:
            return True
        return without_words(old) != without_words(new)

    return passes


def node_changed(old: Object | None, new: Object | None) -> bool:
    """Pass changes of a Node that a choice among nodes depends on.

    Kubelets report each few minutes that nothing changed. Such a report concerns
    every Workspace that could use the node, and none of them.
    """
    if old is None or new is None:
        return True
    return _what_counts(old) != _what_counts(new)


def _what_counts(node: Object) -> tuple[object, ...]:
    status = node.get("status") or {}
    return (
        labels_of(node),
        (node.get("spec") or {}).get("unschedulable", False),
        status.get("allocatable"),
        [(c["type"], c["status"]) for c in status.get("conditions") or ()],
    )


def may_use(workspace: Object, node: Object) -> bool:
    """Whether a change of the node can matter to the Workspace.

    Cheaper than choosing nodes, and wrong only on the careful side: labels that
    the choice ignores, and those that matchExpressions ask for, are not compared.
    The Workspace may have any shape, as one stored under another CRD.
    """
    resource = _fields(workspace.get("resource"))
    preferred = resource.get("preferredNodes")
    if isinstance(preferred, list) and name(node) in preferred:
        return True
    wanted = _fields(_fields(resource.get("labelSelector")).get("matchLabels"))
    found = labels_of(node)
    return all(
        found.get(label) == value
        for label, value in wanted.items()
        if label not in labels.RESERVED_SELECTOR_KEYS
    )


def _fields(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
