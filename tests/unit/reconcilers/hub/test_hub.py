"""A model that the catalogue does not have is found on a hub, or it is said why not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from pykaito.api.v1beta1 import inference as api
from pykaito.reconcilers.hub import hub as hub_module
from pykaito.reconcilers.hub import huggingface
from pykaito.reconcilers.hub import web as hub_web
from pykaito.reconcilers.hub.answers import AT_ONCE, FRESH_FAILURE
from pykaito.reconcilers.hub.hub import Hub, Sources
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.plan import PlanError, PlanReason
from tests.unit.reconcilers.hub.stand_ins import COMMIT, LLAMA, Site, publish, serve

NAME = "someone/Tiny-Llama"


class HandClock:
    """A clock that a test sets; only its monotonic time may be asked for."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> Any:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve() as running:
        yield running


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def hub(site: Site, clock: HandClock) -> Hub:
    return Hub(Sources(endpoint=site.url), clock)


def named(name: str) -> api.Preset:
    return api.Preset(name=name)


async def refusal(hub: Hub, name: str = NAME) -> PlanError:
    with pytest.raises(PlanError) as caught:
        await hub.find(named(name))
    return caught.value


async def test_a_model_is_found_with_all_that_the_hub_tells(
    hub: Hub, site: Site
) -> None:
    publish(site, NAME, cardData={"license": "llama3.2"})
    found = await hub.find(named(NAME))
    assert found is not None
    assert (found.name, found.hub, found.revision) == (NAME, NAME, COMMIT)
    assert (found.licence, found.gated) == ("llama3.2", False)
    assert (found.weights_gib, found.context_length) == (3, 8192)
    assert found.attention.bytes_per_token == 2 * 8 * 64 * 16 * 2
    assert found.transformers


async def test_a_model_of_the_catalogue_is_not_asked_for(hub: Hub, site: Site) -> None:
    assert await hub.find(named("microsoft/PHI-4")) is None
    assert await hub.find(named("no-repository")) is None
    assert site.asked == []


async def test_a_commit_that_is_served_already_is_asked_for(
    hub: Hub, site: Site
) -> None:
    publish(site, NAME)
    old = "f" * 40
    site.answers[f"/api/models/{NAME}/revision/{old}"] = {
        **site.answers[f"/api/models/{NAME}"],
        "sha": old,
    }
    site.answers[f"/{NAME}/resolve/{old}/config.json"] = LLAMA
    found = await hub.find(named(NAME), revision=old)
    assert found is not None
    assert found.revision == old


async def test_the_hubs_spelling_of_a_name_is_taken(hub: Hub, site: Site) -> None:
    publish(site, NAME)
    site.answers[f"/api/models/{NAME.lower()}"] = site.answers[f"/api/models/{NAME}"]
    found = await hub.find(named(NAME.lower()))
    assert found is not None
    assert found.hub == NAME


@pytest.mark.parametrize(
    ("told", "licence"),
    [
        ({"tags": ["llama", "license:apache-2.0"]}, "apache-2.0"),
        ({"cardData": {"license": "other", "license_name": "qwen"}}, "qwen"),
        ({"cardData": {"license": ["a", "b"]}}, "unknown"),
    ],
)
async def test_the_licence_is_told_where_it_is_known(
    hub: Hub, site: Site, told: dict[str, Any], licence: str
) -> None:
    publish(site, NAME, **told)
    found = await hub.find(named(NAME))
    assert found is not None
    assert found.licence == licence


async def test_a_gated_model_with_a_public_config_says_so(hub: Hub, site: Site) -> None:
    publish(site, NAME, gated="manual")
    found = await hub.find(named(NAME))
    assert found is not None
    assert found.gated


async def test_a_model_in_mistrals_form_alone_is_read_by_its_params(
    hub: Hub, site: Site
) -> None:
    siblings = [
        {"rfilename": "consolidated.safetensors", "size": 4 << 30},
        {"rfilename": "params.json", "size": 300},
    ]
    publish(site, NAME, siblings=siblings)
    params = {"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8}
    site.answers[f"/{NAME}/resolve/{COMMIT}/params.json"] = params
    found = await hub.find(named(NAME))
    assert found is not None
    assert found.mistral_format
    assert not found.transformers
    assert found.attention.bytes_per_token == 131072


async def test_nothing_secret_is_sent(
    hub: Hub, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    publish(site, NAME)
    await hub.find(named(NAME))
    assert len(site.headers) == 2
    for headers in site.headers:
        assert not {"Authorization", "Cookie"} & set(headers)
        assert "hf_secret" not in str(headers)


def denied(status: int, code: str = "") -> web.Response:
    return web.Response(status=status, headers={"X-Error-Code": code} if code else {})


@pytest.mark.parametrize("answer", [denied(404), denied(401, "RepoNotFound")])
async def test_a_model_that_is_nowhere_is_told_with_the_nearest_names(
    hub: Hub, site: Site, answer: web.Response
) -> None:
    name = "someone/phi-4-mini-instruct-tuned"
    site.answers[f"/api/models/{name}"] = answer
    error = await refusal(hub, name)
    assert error.reason is PlanReason.PRESET_NOT_FOUND
    assert error.terminal
    assert "did you mean phi-4-mini-instruct" in str(error)


@pytest.mark.parametrize("answer", [denied(401, "GatedRepo"), denied(403), denied(401)])
@pytest.mark.parametrize("path", ["config", "listing"])
async def test_a_config_behind_a_licence_is_told_with_the_ways_around(
    hub: Hub, site: Site, answer: web.Response, path: str
) -> None:
    publish(site, NAME, gated="auto")
    paths = {
        "config": f"/{NAME}/resolve/{COMMIT}/config.json",
        "listing": f"/api/models/{NAME}",
    }
    site.answers[paths[path]] = answer
    error = await refusal(hub)
    assert error.reason is PlanReason.MODEL_GATED
    assert error.terminal
    assert "--model-configs" in str(error)


@pytest.mark.parametrize(
    ("told", "config", "problem"),
    [
        ({}, {**LLAMA, "num_hidden_layers": None}, "num_hidden_layers: found none"),
        ({"siblings": [{"rfilename": "m.gguf", "size": 9}]}, LLAMA, "no weights"),
        ({"siblings": [{"rfilename": "model.safetensors"}]}, LLAMA, "no weights"),
        ({"siblings": 3}, LLAMA, "no weights"),
        ({}, None, "found no config.json"),
    ],
)
async def test_a_repository_without_a_model_is_told_with_what_it_lacks(
    hub: Hub, site: Site, told: dict[str, Any], config: Any, problem: str
) -> None:
    publish(site, NAME, **told)
    site.answers[f"/{NAME}/resolve/{COMMIT}/config.json"] = config
    error = await refusal(hub)
    assert error.reason is PlanReason.MODEL_CONFIG_INVALID
    assert problem in str(error)


async def drip(request: web.Request) -> web.StreamResponse:
    """Send a byte now and then, for ever."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


async def silence(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def flood(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def break_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return response


def redirect(location: str) -> web.Response:
    return web.Response(status=307, headers={"Location": location})


FAILURES: dict[str, tuple[Any, str]] = {
    "429": (web.Response(status=429), "429"),
    "503": (web.Response(status=503, body=b"<h1>down</h1>"), "503"),
    "405 of a firewall": (web.Response(status=405), "405"),
    "a login page": (
        web.Response(body=b"<html>", headers={"Content-Type": "text/html"}),
        "text/html where JSON was expected",
    ),
    "a list": ([1, 2], "must be a JSON object"),
    "too deep": (b"[" * 100_000, "where JSON was expected"),
    "redirects to itself": (redirect(f"/api/models/{NAME}"), "more than 3 redirects"),
    "a redirect to nowhere": (redirect("http://[::bad"), "invalid"),
    "a slow drip": (drip, "more than 0.3 s"),
    "silence": (silence, "silence"),
    "a flood": (flood, "more than 8192 KiB"),
    "an answer that breaks off": (break_off, "closed"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_hub_that_does_not_tell_is_tried_again(
    hub: Hub, site: Site, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    # Long for a machine that is busy, except where they are to pass.
    seconds = 0.3 if failure == "a slow drip" else 20
    monkeypatch.setattr(hub_module, "LOOKUP_SECONDS", seconds)
    monkeypatch.setattr(hub_web, "SILENCE", 0.1 if failure == "silence" else 20)
    answer, cause = FAILURES[failure]
    site.answers[f"/api/models/{NAME}"] = answer
    error = await refusal(hub)
    assert error.reason is PlanReason.HUB_UNREACHABLE
    assert not error.terminal
    assert cause.lower() in str(error).lower()
    assert site.url in str(error)
    assert "--model-configs" in str(error)
    assert "\n" not in str(error)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "endpoint",
    [
        lambda _: f"http://127.0.0.1:{free_port()}",
        lambda _: "http://hub.invalid",
        lambda site: site.url.replace("http", "https"),
        lambda _: "not an address",
    ],
    ids=["nobody listens", "no such host", "no TLS", "no URL"],
)
async def test_a_hub_that_is_not_there_is_told(
    site: Site, clock: HandClock, endpoint: Callable[[Site], str]
) -> None:
    address = endpoint(site)
    error = await refusal(Hub(Sources(endpoint=address), clock))
    assert error.reason is PlanReason.HUB_UNREACHABLE
    assert not error.terminal
    assert f"{address} did not tell of it: " in str(error)


async def test_without_a_hub_the_answer_comes_at_once(clock: HandClock) -> None:
    error = await refusal(Hub(Sources(), clock))
    assert error.reason is PlanReason.MODEL_CONFIG_MISSING
    assert error.terminal
    assert f"DIR/{NAME}/config.json" in str(error)


async def test_many_that_ask_for_one_model_ask_the_hub_once(
    hub: Hub, site: Site
) -> None:
    publish(site, NAME)
    found = await asyncio.gather(*(hub.find(named(NAME)) for _ in range(9)))
    assert len({id(preset) for preset in found}) == 1
    assert len(site.asked) == 2
    await hub.find(named(NAME.upper()))
    assert len(site.asked) == 2


async def test_a_caller_that_goes_leaves_the_answer_to_the_others(
    hub: Hub, site: Site
) -> None:
    publish(site, NAME)
    listing = site.answers[f"/api/models/{NAME}"]
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: web.Request) -> web.StreamResponse:
        begun.set()
        await go_on.wait()
        return web.json_response(listing)

    site.answers[f"/api/models/{NAME}"] = wait
    first = asyncio.create_task(hub.find(named(NAME)))
    second = asyncio.create_task(hub.find(named(NAME)))
    await begun.wait()
    first.cancel()
    go_on.set()
    assert isinstance(await second, Preset)
    assert first.cancelled() or first.cancelling()


async def test_few_models_are_asked_for_at_once(hub: Hub, site: Site) -> None:
    under_way, most = 0, 0

    async def count(_: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return web.Response(status=404)

    names = [f"someone/model-{number}" for number in range(3 * AT_ONCE)]
    site.answers |= {f"/api/models/{name}": count for name in names}
    errors = await asyncio.gather(*(refusal(hub, name) for name in names))
    assert {error.reason for error in errors} == {PlanReason.PRESET_NOT_FOUND}
    assert most == AT_ONCE


async def test_a_failure_is_kept_for_a_short_while(
    hub: Hub, site: Site, clock: HandClock
) -> None:
    site.answers[f"/api/models/{NAME}"] = web.Response(status=500)
    await refusal(hub)
    publish(site, NAME)
    clock.time = FRESH_FAILURE - 1
    await refusal(hub)
    assert len(site.asked) == 1
    clock.time = FRESH_FAILURE
    assert await hub.find(named(NAME)) is not None


async def test_a_hub_that_asks_to_wait_is_left_alone_as_long(
    hub: Hub, site: Site, clock: HandClock
) -> None:
    headers = {"Retry-After": "120"}
    site.answers[f"/api/models/{NAME}"] = web.Response(status=429, headers=headers)
    assert "wait 120 s" in str(await refusal(hub))
    clock.time = 119
    await refusal(hub)
    assert len(site.asked) == 1
    clock.time = 120
    await refusal(hub)
    assert len(site.asked) == 2


async def test_another_commit_on_the_hub_changes_nothing_that_was_found(
    hub: Hub, site: Site, clock: HandClock
) -> None:
    publish(site, NAME)
    found = await hub.find(named(NAME))
    publish(site, NAME, sha="f" * 40)
    clock.time = 1e9
    assert await hub.find(named(NAME)) is found


async def test_a_large_config_is_refused(
    hub: Hub, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "CONFIG_LIMIT", 1024)
    publish(site, NAME, {**LLAMA, "comment": "x" * 2000})
    assert "more than 1 KiB" in str(await refusal(hub))
