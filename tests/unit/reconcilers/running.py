"""The operator on an API server in memory, as the command line runs it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry

from pykaito.provisioners.registry import Factory
from pykaito.reconcilers.assembly import Process, assemble
from pykaito.reconcilers.controllers import Settings
from pykaito.reconcilers.inference.loading.watch import Ask
from pykaito.reconcilers.lookups import ModelHub
from pykaito.reconcilers.provisioning import ProvisioningSettings
from pykaito.runtime.presets.runtimes import Runtime
from tests.unit.operator.virtual_time import VirtualClock
from tests.unit.reconcilers.cluster_api import ClusterApi

#: The operator's namespace.
SYSTEM = "pykaito-system"


@contextlib.asynccontextmanager
async def unreachable() -> AsyncIterator[Ask]:
    """Ask pods as from where none of them can be reached."""

    async def ask(_: str) -> None:
        return None

    yield ask


@contextlib.asynccontextmanager
async def running(
    api: ClusterApi,
    settings: Settings,
    provisioning: ProvisioningSettings,
    factories: Sequence[Factory],
    *,
    hub: ModelHub,
    default_runtime: Runtime = "transformers",
    connect: Callable[[], contextlib.AbstractAsyncContextManager[Ask]] = unreachable,
    crash: contextlib.AbstractContextManager[None] | None = None,
) -> AsyncIterator[None]:
    """Run the operator for a while.

    Args:
        api: the API server.
        settings: what it is told of model servers.
        provisioning: what it is told of nodes.
        factories: make its provisioners.
        hub: where it looks models up.
        default_runtime: what serves Workspaces that name no runtime.
        connect: makes what asks pods how far they are.
        crash: entered before it ends, which is then no end in order.
    """
    manager = assemble(
        api,
        Process(identity="test", namespace=SYSTEM, leader_elect=False),
        replace(settings, provisioning=provisioning),
        clock=VirtualClock(),
        rng=random.Random(1),  # noqa: S311 - jitter
        hub=hub,
        default_runtime=default_runtime,
        connect=connect,
        factories=factories,
        registry=CollectorRegistry(),
    )
    stop = asyncio.Event()
    task = asyncio.create_task(manager.run(stop))
    try:
        yield
    finally:
        with crash or contextlib.nullcontext():
            stop.set()
            await asyncio.gather(task, return_exceptions=crash is not None)
