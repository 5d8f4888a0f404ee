"""The command line, and the place where the operator is put together."""

import asyncio
import random
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import structlog
import typer
from prometheus_client import REGISTRY

import pykaito
from pykaito.operator import logs
from pykaito.operator.cache import Cache
from pykaito.operator.client import Client
from pykaito.operator.clock import SystemClock
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.leader import (
    LeaderElection,
    LeadershipLostError,
    default_identity,
)
from pykaito.operator.manager import Manager
from pykaito.operator.reconcile import Request
from pykaito.reconcilers.controllers import Settings, controllers
from pykaito.reconcilers.metrics import WorkspaceCount
from pykaito.reconcilers.resources import WORKSPACES

log = structlog.get_logger()

main = typer.Typer(
    help="Run open models on Kubernetes from one Workspace object.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@main.command()
def version() -> None:
    """Print the version."""
    print(pykaito.__version__)  # noqa: T201 - a command's output


@main.command()
def operator(
    transformers_image: Annotated[
        str, typer.Option(help="Image of the transformers runtime.")
    ],
    namespace: Annotated[
        str,
        typer.Option(
            help="Namespace of the Lease; that of the credentials by default."
        ),
    ] = "",
    leader_elect: Annotated[
        bool, typer.Option(help="Reconcile only while holding the Lease.")
    ] = True,
    metrics_port: Annotated[int, typer.Option(help="Port of /metrics.")] = 8080,
    health_port: Annotated[
        int, typer.Option(help="Port of /healthz and /readyz.")
    ] = 8081,
    workers: Annotated[int, typer.Option(help="Reconciles at once.", min=1)] = 4,
    log_level: Annotated[str, typer.Option(help="debug, info, warning, error.")] = (
        "info"
    ),
    log_format: Annotated[str, typer.Option(help="json or console.")] = "json",
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Credentials; those of the pod or KUBECONFIG by default."),
    ] = None,
) -> None:
    """Run the operator until SIGTERM."""
    if log_format not in {"json", "console"}:
        raise typer.BadParameter(f"--log-format: {log_format!r} is not json or console")
    kind: Literal["json", "console"] = "json" if log_format == "json" else "console"
    try:
        logs.configure(log_level, kind)
    except ValueError as error:
        raise typer.BadParameter(f"--log-level: {error}") from None
    settings = Settings(transformers_image=transformers_image)
    try:
        asyncio.run(
            run(
                settings,
                kubeconfig=kubeconfig,
                namespace=namespace,
                leader_elect=leader_elect,
                metrics_port=metrics_port,
                health_port=health_port,
                workers=workers,
            )
        )
    except LeadershipLostError as error:
        log.error("lost the lease", error=str(error))  # noqa: TRY400 - no traceback
        sys.exit(1)


async def run(
    settings: Settings,
    *,
    kubeconfig: Path | None,
    namespace: str,
    leader_elect: bool,
    metrics_port: int,
    health_port: int,
    workers: int,
) -> None:
    """Put the operator together and run it until SIGTERM or SIGINT."""
    clock, rng = SystemClock(), random.Random()  # noqa: S311 - jitter, no secret
    identity = default_identity()
    client = await Client.connect(
        kubeconfig=kubeconfig, user_agent=f"pykaito/{pykaito.__version__}"
    )
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
        for controller in controllers(client, cache, events, clock, written, settings):
            manager.add(controller)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        log.info("starting", version=pykaito.__version__, identity=identity)
        await manager.run(stop)
    finally:
        await client.close()


if __name__ == "__main__":
    main()
