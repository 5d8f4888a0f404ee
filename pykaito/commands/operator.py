"""``pykaito operator``: the place where the operator is put together."""

import asyncio
import random
import signal
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import REGISTRY

import pykaito
from pykaito.api import labels
from pykaito.operator.background import Background
from pykaito.operator.cache import Cache
from pykaito.operator.certificate_rotator import (
    VALIDATING_WEBHOOK_CONFIGURATIONS,
    CertificateRotator,
    WebhookService,
)
from pykaito.operator.client import Client
from pykaito.operator.clock import Clock, SystemClock
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.leader import LeaderElection, default_identity
from pykaito.operator.manager import Manager
from pykaito.operator.objects import CONFIG_MAPS, DEPLOYMENTS, NODES, PODS
from pykaito.operator.reconcile import Request
from pykaito.operator.webhook import WebhookServer
from pykaito.reconcilers.admission import PATH, WorkspaceAdmission
from pykaito.reconcilers.configs import ConfigMaps
from pykaito.reconcilers.controllers import Settings, controllers
from pykaito.reconcilers.hub.hub import Hub, Sources
from pykaito.reconcilers.inference.loading.asking import over_http
from pykaito.reconcilers.inference.loading.watch import LoadWatch
from pykaito.reconcilers.lookups import Lookups
from pykaito.reconcilers.metrics import LoadProgress, MachineCount, WorkspaceCount
from pykaito.reconcilers.provisioning import Provisioning
from pykaito.reconcilers.resources import MACHINES, WORKSPACES
from pykaito.runtime.presets.runtimes import Runtime

log = structlog.get_logger()


class StartError(Exception):
    """The operator was given something that it cannot start with."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where the API server finds the webhook."""

    port: int
    #: Name of the Service, of its Secret but for -tls, and of the webhook's
    #: configuration; as the chart has it.
    service: str


async def run(
    settings: Settings,
    *,
    default_runtime: Runtime,
    kubeconfig: Path | None,
    namespace: str,
    leader_elect: bool,
    metrics_port: int,
    health_port: int,
    workers: int,
    webhook: Webhook | None,
    sources: Sources,
) -> None:
    """Put the operator together and run it until SIGTERM or SIGINT.

    Raises:
        StartError: there are no usable credentials.
        TimeoutError: the API server did not answer, or lacks the CRDs.
        LeadershipLostError: the lease was lost.
    """
    clock, rng = SystemClock(), random.Random()  # noqa: S311 - jitter, no secret
    identity = default_identity()
    try:
        client = await Client.connect(
            kubeconfig=kubeconfig, user_agent=f"pykaito/{pykaito.__version__}"
        )
    except ValueError as error:
        raise StartError(str(error)) from None
    try:
        cache = Cache(client, clock, rng)
        events = EventRecorder(
            client,
            clock,
            reporting_controller="kaito.sh/pykaito",
            reporting_instance=identity,
        )
        written = WrittenVersions[Request](clock)
        manager = Manager(
            client,
            cache,
            clock=clock,
            identity=identity,
            leader_election=LeaderElection(
                namespace=namespace or client.namespace, name="pykaito"
            )
            if leader_elect
            else None,
            expectations=written,
            rng=rng,
            workers=workers,
            metrics_port=metrics_port,
            health_port=health_port,
        )
        manager.add_service(events, elected=True)
        workspaces = cache.informer(WORKSPACES)
        REGISTRY.register(WorkspaceCount(workspaces.store.list))
        REGISTRY.register(MachineCount(cache.informer(MACHINES).store.list))
        loads = LoadWatch(
            cache.informer(PODS, label_selector=labels.WORKSPACE).store,
            workspaces.store,
            over_http,
            clock,
        )
        REGISTRY.register(LoadProgress(loads.reports))
        manager.add_service(Background("loads", loads.run, clock), elected=True)
        lookups = Lookups(
            ConfigMaps(
                client,
                cache.informer(CONFIG_MAPS, metadata_only=True),
                namespace or client.namespace,
            ),
            # A slow hub holds no more than half of them.
            Hub(sources, clock, held=workers // 2),
            cache.informer(DEPLOYMENTS, label_selector=labels.WORKSPACE),
            default_runtime=default_runtime,
        )
        try:
            provisioning = Provisioning.install(
                settings.provisioning,
                client=client,
                cache=cache,
                clock=clock,
                written=written,
            )
        except ValueError as error:
            raise StartError(str(error)) from None
        for name, provisioner in provisioning.installed.items():
            manager.add_service(Background(name, provisioner.run, clock), elected=True)
        for controller in controllers(
            client,
            cache,
            events,
            clock,
            written,
            settings,
            lookups,
            provisioning,
            loads,
        ):
            manager.add(controller)
        if webhook is not None:
            serve_webhook(
                webhook,
                manager,
                client,
                cache,
                clock,
                WorkspaceAdmission(cache.informer(NODES), lookups, provisioning),
                namespace=namespace or client.namespace,
            )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        log.info("starting", version=pykaito.__version__, identity=identity)
        await manager.run(stop)
    finally:
        await client.close()


def serve_webhook(
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
