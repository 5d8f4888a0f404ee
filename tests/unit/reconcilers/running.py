"""The operator on an API server in memory, as the command line puts it together."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence

from pykaito.api import labels
from pykaito.operator.background import Background
from pykaito.operator.cache import Cache
from pykaito.operator.events import EventRecorder
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.manager import Manager
from pykaito.operator.objects import CONFIG_MAPS, DEPLOYMENTS, PODS
from pykaito.operator.reconcile import Request
from pykaito.provisioners.registry import Factory
from pykaito.reconcilers.configs import ConfigMaps
from pykaito.reconcilers.controllers import Settings, controllers
from pykaito.reconcilers.inference.loading.watch import Ask, LoadWatch
from pykaito.reconcilers.lookups import Lookups, ModelHub
from pykaito.reconcilers.provisioning import Provisioning, ProvisioningSettings
from pykaito.reconcilers.resources import WORKSPACES
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
    clock, rng = VirtualClock(), random.Random(1)  # noqa: S311 - jitter
    cache = Cache(api, clock, rng)
    events = EventRecorder(
        api, clock, reporting_controller="kaito.sh/pykaito", reporting_instance="test"
    )
    written = WrittenVersions[Request](clock)
    manager = Manager(
        api, cache, clock=clock, identity="test", leader_election=None,
        expectations=written, rng=rng, metrics_port=None, health_port=None,
    )  # fmt: skip
    manager.add_service(events, elected=True)
    installed = Provisioning.install(
        provisioning, client=api, cache=cache, clock=clock, written=written,
        factories=factories,
    )  # fmt: skip
    for name, provisioner in installed.installed.items():
        manager.add_service(Background(name, provisioner.run, clock), elected=True)
    lookups = Lookups(
        ConfigMaps(api, cache.informer(CONFIG_MAPS, metadata_only=True), SYSTEM),
        hub,
        cache.informer(DEPLOYMENTS, label_selector=labels.WORKSPACE),
        default_runtime=default_runtime,
    )
    loads = LoadWatch(
        cache.informer(PODS, label_selector=labels.WORKSPACE).store,
        cache.informer(WORKSPACES).store,
        connect,
        clock,
    )
    manager.add_service(Background("loads", loads.run, clock), elected=True)
    for controller in controllers(
        api, cache, events, clock, written, settings, lookups, installed, loads
    ):
        manager.add(controller)
    stop = asyncio.Event()
    task = asyncio.create_task(manager.run(stop))
    try:
        yield
    finally:
        with crash or contextlib.nullcontext():
            stop.set()
            await asyncio.gather(task, return_exceptions=crash is not None)
