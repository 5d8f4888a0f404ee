"""``pykaito operator``: runs the operator until it is told to stop."""

import asyncio
import random
import signal
from pathlib import Path

import structlog

import pykaito
from pykaito.operator.client import Client
from pykaito.operator.clock import SystemClock
from pykaito.operator.leader import default_identity
from pykaito.reconcilers.assembly import Process, Webhook, assemble
from pykaito.reconcilers.controllers import Settings
from pykaito.reconcilers.hub.hub import Hub, Sources
from pykaito.runtime.presets.runtimes import Runtime

log = structlog.get_logger()


class StartError(Exception):
    """The operator was given something that it cannot start with."""


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
    """Run the operator until SIGTERM or SIGINT.

    Raises:
        StartError: there are no usable credentials, or no such provisioner.
        TimeoutError: the API server did not answer, or lacks the CRDs.
        LeadershipLostError: the lease was lost.
    """
    clock, rng = SystemClock(), random.Random()  # noqa: S311 - jitter, no secret
    try:
        client = await Client.connect(
            kubeconfig=kubeconfig, user_agent=f"pykaito/{pykaito.__version__}"
        )
    except ValueError as error:
        raise StartError(str(error)) from None
    try:
        process = Process(
            identity=default_identity(),
            namespace=namespace or client.namespace,
            leader_elect=leader_elect,
            workers=workers,
            metrics_port=metrics_port,
            health_port=health_port,
            webhook=webhook,
        )
        # A slow hub holds no more than half of the workers.
        hub = Hub(sources, clock, held=workers // 2)
        try:
            manager = assemble(
                client,
                process,
                settings,
                clock=clock,
                rng=rng,
                hub=hub,
                default_runtime=default_runtime,
            )
        except ValueError as error:
            raise StartError(str(error)) from None
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        log.info("starting", version=pykaito.__version__, identity=process.identity)
        await manager.run(stop)
    finally:
        await client.close()
