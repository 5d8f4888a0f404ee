"""Puts the operator together: what it watches, what it reconciles, what runs beside.

All that the operator consists of is named here and nowhere else, so that tests run what
is shipped. What differs between the places that it runs in is handed in.
"""

import random
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry

from pykaito.api import labels
from pykaito.operator.background import Background
from pykaito.operator.cache import Cache
from pykaito.operator.certificate_rotator import (
    VALIDATING_WEBHOOK_CONFIGURATIONS,
    CertificateRotator,
    WebhookService,
)
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.leader import LeaderElection
from pykaito.operator.manager import Manager
from pykaito.operator.objects import CONFIG_MAPS, DEPLOYMENTS, NODES, PODS
from pykaito.operator.reconcile import Request
from pykaito.operator.webhook import WebhookServer
from pykaito.provisioners.registry import Factory
from pykaito.reconcilers.admission import PATH, WorkspaceAdmission
from pykaito.reconcilers.configs import ConfigMaps
from pykaito.reconcilers.controllers import Settings, controllers
from pykaito.reconcilers.inference.loading.asking import over_http
from pykaito.reconcilers.inference.loading.watch import Ask, LoadWatch
from pykaito.reconcilers.lookups import Lookups, ModelHub
from pykaito.reconcilers.metrics import LoadProgress, MachineCount, WorkspaceCount
from pykaito.reconcilers.provisioning import Provisioning
from pykaito.reconcilers.resources import MACHINES, WORKSPACES
from pykaito.runtime.presets.runtimes import Runtime

LEASE = "pykaito"
"""Name of the Lease, in the operator's namespace."""

WORKERS = 4
"""Reconciles at once, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where the API server finds the webhook."""

    port: int
    #: Name of the Service, of its Secret but for -tls, and of the webhook's
    #: configuration; as the chart has it.
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of the operator, of which there may be several."""

    #: Its name among them.
    identity: str
    #: The operator's namespace.
    namespace: str
    #: Whether it reconciles only while it holds the Lease.
    leader_elect: bool = True
    workers: int = WORKERS
    #: Ports; 0 for a free one, None for none.
    metrics_port: int | None = None
    health_port: int | None = None
    #: None to check no Workspace before it is stored.
    webhook: Webhook | None = None


def assemble(
    client: Client,
    process: Process,
    settings: Settings,
    *,
    clock: Clock,
    rng: random.Random,
    hub: ModelHub,
    default_runtime: Runtime,
    connect: Callable[[], AbstractAsyncContextManager[Ask]] = over_http,
    factories: Iterable[Factory] | None = None,
    registry: CollectorRegistry = REGISTRY,
) -> Manager:
    """Return the whole operator, ready to run.

    Args:
        client: the API server.
        process: how this process runs.
        settings: what the operator is told of model servers and of nodes.
        clock: time.
        rng: the source of jitter.
        hub: where it looks models up.
        default_runtime: what serves Workspaces that name no runtime.
        connect: makes what asks pods how far they are.
        factories: make the provisioners; all that are installed by default.
        registry: gets what Prometheus is told of Workspaces and Machines.

    Raises:
        ValueError: the default provisioner is not installed, or two have one name.
    """
    cache = Cache(client, clock, rng)
    events = EventRecorder(
        client,
        clock,
        reporting_controller="kaito.sh/pykaito",
        reporting_instance=process.identity,
    )
    written = WrittenVersions[Request](clock)
    manager = Manager(
        client,
        cache,
        clock=clock,
        identity=process.identity,
        leader_election=LeaderElection(namespace=process.namespace, name=LEASE)
        if process.leader_elect
        else None,
        expectations=written,
        rng=rng,
        workers=process.workers,
        metrics_port=process.metrics_port,
        health_port=process.health_port,
    )
    manager.add_service(events, elected=True)
    workspaces = cache.informer(WORKSPACES)
    loads = LoadWatch(
        cache.informer(PODS, label_selector=labels.WORKSPACE).store,
        workspaces.store,
        connect,
        clock,
    )
    manager.add_service(Background("loads", loads.run, clock), elected=True)
    lookups = Lookups(
        ConfigMaps(
            client, cache.informer(CONFIG_MAPS, metadata_only=True), process.namespace
        ),
        hub,
        cache.informer(DEPLOYMENTS, label_selector=labels.WORKSPACE),
        default_runtime=default_runtime,
    )
    provisioning = Provisioning.install(
        settings.provisioning,
        client=client,
        cache=cache,
        clock=clock,
        written=written,
        factories=factories,
    )
    for name, provisioner in provisioning.installed.items():
        manager.add_service(Background(name, provisioner.run, clock), elected=True)
    for controller in controllers(
        client, cache, events, clock, written, settings, lookups, provisioning, loads
    ):
        manager.add(controller)
    if process.webhook is not None:
        _serve_webhook(
            process.webhook,
            manager,
            client,
            cache,
            clock,
            WorkspaceAdmission(cache.informer(NODES), lookups, provisioning),
            namespace=process.namespace,
        )
    registry.register(WorkspaceCount(workspaces.store.list))
    registry.register(MachineCount(cache.informer(MACHINES).store.list))
    registry.register(LoadProgress(loads.reports))
    return manager


def _serve_webhook(
    webhook: Webhook,
    manager: Manager,
    client: Client,
    cache: Cache,
    clock: Clock,
    admission: WorkspaceAdmission,
    *,
    namespace: str,
) -> None:
    """Let the manager serve the webhook and look after its certificates."""
    service = WebhookService(namespace=namespace, name=webhook.service)
    server = WebhookServer(webhook.port, {PATH: admission}, clock)
    configurations = cache.informer(
        VALIDATING_WEBHOOK_CONFIGURATIONS,
        field_selector=f"metadata.name={service.configuration}",
    )
    rotator = CertificateRotator(
        client.unelected(), service, configurations, server.use, clock
    )
    manager.add_service(server, elected=False)
    manager.add_service(rotator, elected=False)
    if manager.health is not None:
        manager.health.add_ready("webhook", server.ready)
