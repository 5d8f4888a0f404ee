"""What is remembered of children that were applied."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from pykaito.operator.informer import Informer
from pykaito.operator.objects import SERVICES, Object
from pykaito.operator.reflector import Selection
from pykaito.reconcilers.apply import Applier
from tests.unit.operator.virtual_time import VirtualClock, eventually
from tests.unit.reconcilers.cluster_api import ClusterApi

pytestmark = pytest.mark.virtual_time

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "a", "namespace": "ns"},
    "spec": {"ports": []},
}


@pytest.fixture
async def api() -> ClusterApi:
    return ClusterApi()


@pytest.fixture
async def services(api: ClusterApi) -> AsyncIterator[Informer]:
    rng = random.Random(1)  # noqa: S311 - jitter
    informer = Informer(api, Selection(SERVICES), clock=VirtualClock(), rng=rng)
    task = asyncio.create_task(informer.run())
    await informer.wait_synced(10)
    yield informer
    task.cancel()


def unheard(_informer: Informer, _written: Object) -> None:
    pass


async def test_a_child_is_applied_once(api: ClusterApi, services: Informer) -> None:
    applier = Applier(api, "me", services)
    for _ in range(3):
        await applier.apply(SERVICE, unheard)
        await eventually(lambda: len(services.store) == 1)
    assert api.writes == [("apply", "services")]


async def test_what_is_remembered_of_a_child_ends_with_it(
    api: ClusterApi, services: Informer
) -> None:
    applier = Applier(api, "me", services)
    await applier.apply(SERVICE, unheard)
    await eventually(lambda: len(services.store) == 1)
    assert len(applier) == 1
    await api.delete(SERVICES, "a", namespace="ns")
    await eventually(lambda: len(services.store) == 0)
    assert len(applier) == 0
