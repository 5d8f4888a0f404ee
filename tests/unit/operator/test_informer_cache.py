"""Many informers in one cache; virtual time."""

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator

import pytest

from pykaito.operator.cache import Cache
from pykaito.operator.objects import JOBS, NODES, PODS
from tests.unit.operator.model_api import ModelApi
from tests.unit.operator.virtual_time import VirtualClock, settle

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def garbage_collector() -> AsyncIterator[None]:
    """Leave the collector as it was."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.fixture
def api() -> ModelApi:
    return ModelApi()


@pytest.fixture
def cache(api: ModelApi) -> Cache:
    return Cache(api, VirtualClock(), random.Random(1))  # noqa: S311 - spread, not secrecy


@contextlib.asynccontextmanager
async def running(cache: Cache) -> AsyncIterator[None]:
    task = asyncio.create_task(cache.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_one_selection_has_one_informer(cache: Cache) -> None:
    pods = cache.informer(PODS)
    assert cache.informer(PODS) is pods
    assert cache.informer(PODS, namespace="ns") is not pods
    assert cache.informer(PODS, label_selector="a=b") is not pods
    assert cache.informer(PODS, metadata_only=True) is not pods
    assert cache.informer(NODES) is not pods


async def test_waiting_ends_when_every_informer_has_listed(
    cache: Cache, api: ModelApi
) -> None:
    pods, nodes = cache.informer(PODS), cache.informer(NODES)
    api.create("a")
    async with running(cache):
        assert not cache.has_synced
        await cache.wait_synced(10)
        assert cache.has_synced
        assert pods.has_synced
        assert nodes.has_synced


async def test_an_informer_made_while_running_runs(cache: Cache, api: ModelApi) -> None:
    async with running(cache):
        late = cache.informer(PODS)
        api.create("a")
        await cache.wait_synced(10)
        assert len(late.store) == 1


async def test_a_missing_resource_is_named_with_its_cause(
    cache: Cache, api: ModelApi
) -> None:
    cache.informer(PODS)
    cache.informer(JOBS)
    api.absent.add(JOBS)
    async with running(cache):
        with pytest.raises(
            TimeoutError,
            match=r"^jobs.batch not listed within 5 s: 404: 404 page not found$",
        ):
            await cache.wait_synced(5)


async def test_an_optional_resource_that_is_missing_holds_nobody_up_and_may_come(
    cache: Cache, api: ModelApi
) -> None:
    cache.informer(PODS)
    jobs = cache.informer(JOBS, optional=True)
    api.absent.add(JOBS)
    async with running(cache):
        await cache.wait_synced(5)
        assert not jobs.has_synced
        api.absent.clear()
        await asyncio.sleep(61)
        assert jobs.has_synced


async def test_an_optional_resource_that_exists_is_waited_for(
    cache: Cache, api: ModelApi
) -> None:
    jobs = cache.informer(JOBS, optional=True)
    api.create("a")
    async with running(cache):
        await cache.wait_synced(5)
        assert jobs.has_synced


async def test_one_who_needs_a_resource_makes_it_required_for_all(
    cache: Cache, api: ModelApi
) -> None:
    cache.informer(JOBS)
    cache.informer(JOBS, optional=True)
    api.absent.add(JOBS)
    async with running(cache):
        with pytest.raises(TimeoutError):
            await cache.wait_synced(5)


async def test_the_garbage_collector_rests_during_the_first_lists_and_works_after(
    cache: Cache, api: ModelApi
) -> None:
    during: list[bool] = []

    class Handler:
        def on_event(self, *_: object, **__: object) -> None:
            during.append(gc.isenabled())

    api.create("a")
    cache.informer(PODS).add_handler(Handler())
    async with running(cache):
        await cache.wait_synced(10)
        assert during == [False]
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0


async def test_the_collector_works_again_when_the_first_lists_fail(
    cache: Cache, api: ModelApi
) -> None:
    cache.informer(JOBS)
    api.absent.add(JOBS)
    async with running(cache):
        with pytest.raises(TimeoutError):
            await cache.wait_synced(5)
    assert gc.isenabled()


async def test_the_last_activity_is_that_of_the_quietest_informer(
    cache: Cache,
) -> None:
    cache.informer(PODS)
    async with running(cache):
        await settle()
        await asyncio.sleep(30)
        cache.informer(NODES)
        await settle()
        assert cache.last_activity == asyncio.get_running_loop().time() - 30


async def test_a_bug_in_an_informer_ends_the_cache(cache: Cache, api: ModelApi) -> None:
    api.refuse(RuntimeError("a bug"))
    cache.informer(PODS)
    with pytest.raises(ExceptionGroup):
        await cache.run()
