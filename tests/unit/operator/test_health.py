"""Probes over real HTTP, and the lag of a virtual loop."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from pykaito.operator.clock import SystemClock
from pykaito.operator.health import HealthServer, LoopLag, watch_activity
from tests.unit.operator.virtual_time import VirtualClock, VirtualTimeLoop


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    server = HealthServer(0, SystemClock())
    await server.start()
    yield server
    await server.stop()


async def probe(server: HealthServer, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{server.port}{path}"
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession() as http, http.get(url, timeout=timeout) as got:
        return got.status, await got.text()


async def test_a_healthy_process_answers_200_and_lists_each_check(
    server: HealthServer,
) -> None:
    server.add_live("watches", lambda: None)
    assert await probe(server, "/healthz") == (
        200,
        "[+]event-loop ok\n[+]watches ok\nhealthz check passed\n",
    )


async def test_one_failed_check_answers_500_and_says_why(server: HealthServer) -> None:
    server.add_ready("webhook", lambda: None)
    server.add_ready("caches", lambda: "pods were not listed yet")
    assert await probe(server, "/readyz") == (
        500,
        "[-]caches: pods were not listed yet\n[+]webhook ok\nreadyz check failed\n",
    )


async def test_readiness_does_not_decide_about_life(server: HealthServer) -> None:
    server.add_ready("caches", lambda: "not yet")
    status, _ = await probe(server, "/healthz")
    assert status == 200


async def test_a_check_that_breaks_has_failed(server: HealthServer) -> None:
    def broken() -> str | None:
        raise LookupError("no such thing")

    server.add_live("broken", broken)
    status, body = await probe(server, "/healthz")
    assert status == 500
    assert "[-]broken: LookupError: no such thing" in body


async def test_an_unknown_path_is_404(server: HealthServer) -> None:
    assert (await probe(server, "/"))[0] == 404


async def test_probes_leave_no_access_log(
    server: HealthServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="aiohttp")
    await probe(server, "/healthz")
    assert [r for r in caplog.records if r.name.startswith("aiohttp")] == []


async def test_a_stopped_server_refuses_connections(server: HealthServer) -> None:
    await server.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await probe(server, "/healthz")


async def test_a_port_that_is_taken_is_named(server: HealthServer) -> None:
    second = HealthServer(server.port, SystemClock())
    with pytest.raises(OSError, match=f"cannot listen on port {server.port}"):
        await second.start()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_probes_are_answered_over_ipv6_too(server: HealthServer) -> None:
    with socket.create_connection(("::1", server.port), timeout=5):
        pass


@pytest.mark.virtual_time
async def test_a_blocked_event_loop_fails_until_it_beats_in_time_again() -> None:
    lag = LoopLag(VirtualClock())
    beating = asyncio.create_task(lag.run())
    await asyncio.sleep(9.5)
    assert lag.check() is None
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.spend(30)
    assert lag.check() == "the event loop was 29.5 s late, the limit is 5 s"
    await asyncio.sleep(0.5)
    assert lag.check() is not None
    await asyncio.sleep(2)
    assert lag.check() is None
    beating.cancel()


def test_watches_that_stand_still_fail_and_say_for_how_long() -> None:
    age = 599.0
    check = watch_activity(lambda: age)
    assert check() is None
    age = 601.0
    assert check() == "no watch did anything for 601 s, the limit is 600 s"
