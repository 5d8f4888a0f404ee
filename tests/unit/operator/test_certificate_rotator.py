"""Replicas that keep one Secret and one webhook configuration; virtual time."""

import asyncio
import base64
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from pykaito.operator.cache import Cache
from pykaito.operator.certificate_rotator import (
    PERIOD,
    VALIDATING_WEBHOOK_CONFIGURATIONS,
    CertificateRotator,
    WebhookService,
)
from pykaito.operator.certificates import (
    LIFETIME,
    STAGED,
    Certificates,
    KeyPair,
    UnusableError,
    authorities_in,
    check,
    renewed,
)
from pykaito.operator.errors import ForbiddenError, ServerError
from pykaito.operator.objects import SECRETS, Object, Resource
from tests.unit.operator.memory_api import MemoryApi
from tests.unit.operator.virtual_time import VirtualClock, eventually

pytestmark = pytest.mark.virtual_time

SERVICE = WebhookService(namespace="pykaito-system", name="pykaito-webhook")


class Api(MemoryApi):
    """Merges webhooks by their name, as server-side apply does."""

    async def apply(self, resource: Resource, obj: Object, **options: Any) -> Object:
        if resource == VALIDATING_WEBHOOK_CONFIGURATIONS:
            assert options == {"field_manager": "pykaito-webhook", "force": True}
            (live,) = self.stored(resource)
            wanted = {webhook["name"]: webhook for webhook in obj["webhooks"]}
            for webhook in live["webhooks"]:
                applied = wanted.get(webhook["name"], {"clientConfig": {}})
                webhook["clientConfig"] |= applied["clientConfig"]
            obj = {**obj, "webhooks": live["webhooks"]}
        return await super().apply(resource, obj, **options)


class Replica:
    """One process: its rotator, and what its server was given to serve."""

    def __init__(self, api: Api, *, wall_skew: float = 0.0) -> None:
        self.clock = VirtualClock(wall_skew=wall_skew)
        self.served: list[KeyPair] = []
        self._cache = Cache(api, self.clock, random.Random(1))  # noqa: S311 - jitter
        name = f"metadata.name={SERVICE.configuration}"
        self.rotator = CertificateRotator(
            api,
            SERVICE,
            self._cache.informer(
                VALIDATING_WEBHOOK_CONFIGURATIONS, field_selector=name
            ),
            self.served.append,
            self.clock,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        cache = asyncio.create_task(self._cache.run())
        await self.rotator.start()
        try:
            yield self
        finally:
            await self.rotator.stop()
            cache.cancel()
            await asyncio.wait([cache])


def configuration(service: str = SERVICE.name) -> dict[str, Any]:
    client = {"service": {"namespace": SERVICE.namespace, "name": service}}
    return {
        "metadata": {"name": SERVICE.configuration},
        "webhooks": [
            {"name": "validation.example.com", "clientConfig": client},
            {"name": "other.example.com", "clientConfig": {"url": "https://x"}},
        ],
    }


@pytest.fixture
async def api() -> Api:
    api = Api()
    await api.create(VALIDATING_WEBHOOK_CONFIGURATIONS, configuration())
    return api


def stored(api: Api) -> dict[str, bytes]:
    (secret,) = api.stored(SECRETS)
    return {key: base64.b64decode(value or "") for key, value in secret["data"].items()}


def ca_bundle(api: Api) -> bytes:
    (live,) = api.stored(VALIDATING_WEBHOOK_CONFIGURATIONS)
    return base64.b64decode(live["webhooks"][0]["clientConfig"].get("caBundle", ""))


def trusted(api: Api, pair: KeyPair) -> bool:
    now = VirtualClock().now()
    try:
        check(pair, authorities_in(ca_bundle(api), now), host=SERVICE.host, now=now)
    except UnusableError:
        return False
    return True


async def store(api: Api, certificates: Certificates) -> KeyPair:
    """Let the cluster have certificates already; return the pair to be served."""
    metadata = {"name": SERVICE.secret, "namespace": SERVICE.namespace}
    data = {k: base64.b64encode(v).decode() for k, v in certificates.to_data().items()}
    await api.create(SECRETS, {"metadata": metadata, "data": data})
    await set_bundle(api, base64.b64encode(certificates.bundle).decode())
    return certificates.current


async def set_bundle(api: Api, bundle: str) -> None:
    (live,) = api.stored(VALIDATING_WEBHOOK_CONFIGURATIONS)
    live["webhooks"][0]["clientConfig"]["caBundle"] = bundle
    await api.replace(VALIDATING_WEBHOOK_CONFIGURATIONS, live)


async def test_the_first_certificate_is_stored_trusted_and_served(api: Api) -> None:
    async with Replica(api).running() as replica:
        await eventually(lambda: bool(ca_bundle(api)), within=5)
        (secret,) = api.stored(SECRETS)
        assert secret["type"] == "kubernetes.io/tls"
        assert secret["metadata"]["name"] == "pykaito-webhook-tls"
        assert ca_bundle(api) == stored(api)["ca.crt"]
        assert [pair.certificate for pair in replica.served] == [stored(api)["tls.crt"]]
        assert trusted(api, replica.served[-1])


async def test_only_the_webhooks_of_the_service_are_touched(api: Api) -> None:
    async with Replica(api).running():
        await eventually(lambda: bool(ca_bundle(api)), within=5)
        (live,) = api.stored(VALIDATING_WEBHOOK_CONFIGURATIONS)
        assert live["webhooks"][1] == configuration()["webhooks"][1]


async def test_without_a_configuration_there_is_a_certificate_nevertheless() -> None:
    api = Api()
    async with Replica(api).running() as replica:
        await eventually(lambda: bool(replica.served), within=5)
        await api.create(VALIDATING_WEBHOOK_CONFIGURATIONS, configuration())
        await eventually(lambda: trusted(api, replica.served[-1]), within=5)


async def test_replicas_that_start_at_once_serve_one_certificate(api: Api) -> None:
    async with contextlib.AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(Replica(api).running()) for _ in range(3)
        ]
        await eventually(lambda: all(r.served for r in replicas), within=5)
        await asyncio.sleep(2 * PERIOD)
        assert len({r.served[-1].certificate for r in replicas}) == 1
        assert trusted(api, replicas[0].served[-1])
        assert api.calls.count(("create", "secrets")) == 3
        assert ("replace", "secrets") not in api.calls


async def test_who_loses_the_race_takes_what_the_winner_stored_at_once() -> None:
    api = Api()  # no configuration, whose change would wake the loser
    async with Replica(api).running() as one, Replica(api).running() as other:
        await eventually(lambda: bool(one.served and other.served), within=5)
        assert one.served == other.served
        assert api.calls.count(("create", "secrets")) == 2


async def test_a_restart_changes_nothing(api: Api) -> None:
    async with Replica(api).running():
        await eventually(lambda: bool(ca_bundle(api)), within=5)
    before, writes = stored(api), len(api.calls)
    async with Replica(api).running() as replica:
        await asyncio.sleep(2 * PERIOD)
        assert replica.served[-1].certificate == before["tls.crt"]
    assert {verb for verb, _ in api.calls[writes:]} <= {"get", "list", "watch"}


async def test_a_cleared_bundle_is_put_back_at_once(api: Api) -> None:
    async with Replica(api).running() as replica:
        await eventually(lambda: bool(ca_bundle(api)), within=5)
        await asyncio.sleep(5)
        await set_bundle(api, "")
        await eventually(lambda: trusted(api, replica.served[-1]), within=3)


async def test_someone_who_keeps_clearing_it_causes_no_storm(api: Api) -> None:
    async with Replica(api).running():
        await eventually(lambda: bool(ca_bundle(api)), within=5)
        before = len(api.calls)
        for _ in range(600):
            await set_bundle(api, "")
            await asyncio.sleep(0.1)
        puts = [call for call in api.calls[before:] if call[0] == "apply"]
        assert 10 < len(puts) <= 61


async def test_a_renewal_reaches_every_replica_and_is_trusted_all_along(
    api: Api,
) -> None:
    due = VirtualClock().now() + timedelta(seconds=90)
    old = await store(api, renewed({}, host=SERVICE.host, now=due - LIFETIME * 2 / 3))
    async with Replica(api).running() as one, Replica(api).running() as other:
        await eventually(lambda: bool(one.served and other.served), within=5)
        for _ in range(int(STAGED.total_seconds() + 90 + 3 * PERIOD)):
            assert trusted(api, one.served[-1])
            assert trusted(api, other.served[-1])
            await asyncio.sleep(1)
        assert one.served == other.served == [old, one.served[-1]]
        assert "next.crt" not in stored(api)
        assert trusted(api, old)


async def test_a_deleted_secret_is_made_anew_and_trusted_before_it_is_served(
    api: Api,
) -> None:
    async with Replica(api).running() as one, Replica(api).running() as other:
        await eventually(lambda: bool(one.served and other.served), within=5)
        await asyncio.sleep(5)
        await api.delete(SECRETS, SERVICE.secret, namespace=SERVICE.namespace)
        for _ in range(int(STAGED.total_seconds() + 4 * PERIOD)):
            assert trusted(api, one.served[-1])
            assert trusted(api, other.served[-1])
            await asyncio.sleep(1)
        assert one.served == other.served
        assert len(one.served) == 2


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("key", ["", None])
async def test_a_corrupted_secret_is_repaired(
    api: Api, restarted: bool, key: str | None
) -> None:
    async with Replica(api).running() as replica:
        await eventually(lambda: bool(ca_bundle(api)), within=5)
    (secret,) = api.stored(SECRETS)
    secret["data"] = {"tls.crt": "!!!", "tls.key": key, "ca.crt": "AAAA"}
    await api.replace(SECRETS, secret)
    if restarted:
        replica = Replica(api)
    async with replica.running():
        await eventually(lambda: stored(api)["tls.crt"].startswith(b"-----"), within=5)
        await asyncio.sleep(5)
        assert trusted(api, replica.served[-1])
        assert stored(api)["tls.crt"] == replica.served[0].certificate


async def test_clocks_that_differ_by_days_do_not_fight(api: Api) -> None:
    behind = Replica(api, wall_skew=-timedelta(days=2).total_seconds())
    async with Replica(api).running() as one, behind.running() as other:
        await eventually(lambda: bool(one.served and other.served), within=5)
        await asyncio.sleep(5)
        writes = api.calls.count(("replace", "secrets"))
        await asyncio.sleep(20 * PERIOD)
        assert api.calls.count(("replace", "secrets")) == writes
        assert one.served[-1] == other.served[-1]


async def test_an_api_server_that_is_away_is_waited_for(api: Api) -> None:
    api.fault = lambda *_: ServerError("away", status=503)
    async with Replica(api).running() as replica:
        await asyncio.sleep(3 * PERIOD)
        assert replica.served == []
        api.fault = lambda *_: None
        await eventually(lambda: bool(ca_bundle(api)), within=3 * PERIOD)
        assert trusted(api, replica.served[-1])


async def test_a_certificate_is_served_though_it_cannot_be_published(api: Api) -> None:
    api.fault = lambda verb, _: (
        ForbiddenError("no", status=403) if verb == "apply" else None
    )
    async with Replica(api).running() as replica:
        await eventually(lambda: bool(replica.served), within=5)
        await asyncio.sleep(PERIOD)
        assert len(replica.served) == 1
