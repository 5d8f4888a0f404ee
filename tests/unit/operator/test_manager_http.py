"""The manager's ports, on a real event loop."""

import asyncio
import random

import aiohttp

from pykaito.operator.cache import Cache
from pykaito.operator.clock import SystemClock
from pykaito.operator.errors import ServerError
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.manager import Manager
from pykaito.operator.objects import PODS
from pykaito.operator.reconcile import Request
from tests.unit.operator.memory_api import MemoryApi


async def get(port: int, path: str) -> tuple[int, str]:
    timeout = aiohttp.ClientTimeout(total=10)
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession() as http, http.get(url, timeout=timeout) as got:
        return got.status, await got.text()


async def test_probes_and_metrics_are_served_before_the_caches_are_full() -> None:
    api = MemoryApi()
    api.fault = lambda *_: ServerError("away", status=503)
    clock = SystemClock()
    rng = random.Random(1)  # noqa: S311 -- jitter is no secret
    cache = Cache(api, clock, rng)
    pods = cache.informer(PODS)
    manager = Manager(
        api,
        cache,
        clock=clock,
        identity="a",
        leader_election=None,
        expectations=WrittenVersions[Request](clock),
        rng=rng,
        metrics_port=0,
        health_port=0,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(manager.run(stop))
    assert manager.health is not None
    assert manager.metrics is not None
    while not manager.health.port:  # noqa: ASYNC110 -- there is no event to wait for
        await asyncio.sleep(0)
    status, body = await get(manager.health.port, "/readyz")
    assert status == 500
    assert "[-]caches: not all first lists have arrived" in body
    status, body = await get(manager.health.port, "/healthz")
    assert status == 200
    assert "[+]watches ok" in body
    status, body = await get(manager.metrics.port, "/metrics")
    assert status == 200
    assert "leader_election_master_status" in body
    api.fault = lambda *_: None
    await pods.wait_synced(10)
    assert (await get(manager.health.port, "/readyz"))[0] == 200
    stop.set()
    await asyncio.wait_for(running, 10)
