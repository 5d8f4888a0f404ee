"""A model's config.json is read from the image that holds the model."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from pykaito.api.v1beta1 import inference as api
from pykaito.operator.clock import SystemClock
from pykaito.reconcilers.hub import registry
from pykaito.reconcilers.hub.hub import Hub, Sources
from pykaito.reconcilers.hub.registry import Reference, parse_reference
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.plan import PlanError, PlanReason
from tests.unit.reconcilers.hub.stand_ins import (
    LLAMA,
    Site,
    digest,
    layer,
    packed,
    publish,
    push,
    serve,
)

FOLDER = "workspace/weights"
CONFIG = f"{FOLDER}/config.json"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve() as running:
        yield running


@pytest.fixture
def hub(site: Site) -> Hub:
    insecure = frozenset({site.host})
    return Hub(Sources(insecure_registries=insecure), SystemClock())


def private(site: Site, name: str = "mine", image: str = "") -> api.Preset:
    return api.Preset.model_validate(
        {
            "name": name,
            "accessMode": "private",
            "presetOptions": {"image": image or f"{site.host}/team/model:1"},
        }
    )


async def found(hub: Hub, site: Site) -> Preset:
    preset = await hub.find(private(site))
    assert preset is not None
    return preset


async def refusal(hub: Hub, spec: api.Preset) -> PlanError:
    with pytest.raises(PlanError) as caught:
        await hub.find(spec)
    return caught.value


async def test_a_model_in_an_image_is_read_with_its_size(hub: Hub, site: Site) -> None:
    weights = {f"{FOLDER}/model.safetensors": bytes(64 << 20)}
    push(site, "team/model", [packed({CONFIG: LLAMA, **weights})])
    preset = await found(hub, site)
    assert (preset.name, preset.hub, preset.revision) == ("mine", "", "")
    assert preset.private_only
    assert preset.weights_gib == 0.06
    assert preset.context_length == 8192


async def test_small_layers_are_read_first_and_no_more_than_needed(
    hub: Hub, site: Site
) -> None:
    index = {"metadata": {"total_size": 5 << 30}}
    small = packed({CONFIG: LLAMA, f"{FOLDER}/model.safetensors.index.json": index})
    large = layer({"usr/lib/torch.so": bytes(1 << 20)})
    push(site, "team/model", [large, small])
    assert (await found(hub, site)).weights_gib == 5
    assert f"/v2/team/model/blobs/{digest(small)}" in site.asked
    assert f"/v2/team/model/blobs/{digest(large)}" not in site.asked


async def test_a_large_layer_is_read_at_its_start_only(
    hub: Hub, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "LAYER_LIMIT", 1 << 20)
    block = 512
    config = json.dumps(LLAMA).encode()
    start = layer({CONFIG: config})[: block * (1 + -(-len(config) // block))]
    part = f"{FOLDER}/model-00001-of-00002.safetensors"
    more = layer({part: bytes(1 << 20)})[: block + (1 << 20)]
    sent = 0

    async def stream(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(start)
        while sent < 64 << 20:
            await response.write(more)
            sent += len(more)
        return response

    push(site, "team/model", [b"-"])
    site.answers[f"/v2/team/model/blobs/{digest(b'-')}"] = stream
    await found(hub, site)
    assert sent < 32 << 20


async def test_the_first_of_the_known_folders_counts(hub: Hub, site: Site) -> None:
    other = {**LLAMA, "max_position_embeddings": 4096}
    files = {"data/config.json": other, CONFIG: LLAMA, "etc/config.json": [1]}
    push(site, "team/model", [packed(files)])
    assert (await found(hub, site)).context_length == 8192


async def test_weights_of_unknown_size_are_reckoned(
    hub: Hub, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the config of a dense model, else by the layers too large to read."""
    monkeypatch.setattr(registry, "LAYER_LIMIT", 1 << 20)
    experts = {**LLAMA, "num_experts": 8}
    for name, config in (("dense", LLAMA), ("experts", experts)):
        large = layer({"x": bytes(2 << 20)})
        push(site, name, [packed({CONFIG: config}), large])
    dense = await hub.find(private(site, "a", f"{site.host}/dense:1"))
    mixed = await hub.find(private(site, "b", f"{site.host}/experts:1"))
    assert dense is not None
    assert mixed is not None
    assert dense.weights_gib == pytest.approx(2.1, abs=0.3)
    assert mixed.weights_gib == 0.01


async def test_the_token_that_anyone_gets_is_used(hub: Hub, site: Site) -> None:
    push(site, "team/model", [packed({CONFIG: LLAMA})])
    given = dict(site.answers)
    scope = "repository:team/model:pull"
    challenge = f'Bearer realm="{site.url}/token",service="r",scope="{scope}"'

    def guarded(answer: Any) -> Any:
        async def respond(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != "Bearer for-anyone":
                headers = {"WWW-Authenticate": challenge}
                return web.Response(status=401, headers=headers)
            if isinstance(answer, bytes):
                return web.Response(body=answer)
            return web.json_response(answer)

        return respond

    async def token(request: web.Request) -> web.StreamResponse:
        assert request.query["scope"] == scope
        assert "Authorization" not in request.headers
        return web.json_response({"token": "for-anyone"})

    site.answers = {path: guarded(answer) for path, answer in given.items()}
    site.answers["/token"] = token
    assert (await found(hub, site)).context_length == 8192


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        'Basic realm="x"',
        'Bearer realm="http://[::bad"',
        'Bearer realm="/token",service="r"',
    ],
)
async def test_a_registry_that_wants_credentials_is_told_of(
    hub: Hub, site: Site, challenge: str
) -> None:
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    denied = web.Response(status=401, headers=headers)
    site.answers["/v2/team/model/manifests/1"] = denied
    error = await refusal(hub, private(site))
    assert error.reason in {
        PlanReason.MODEL_CONFIG_MISSING,
        PlanReason.REGISTRY_UNREACHABLE,
    }
    assert "--model-configs" in str(error)
    if "Bearer" not in challenge:
        assert error.terminal
        assert "does not read pull secrets" in str(error)


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ([packed({"etc/passwd": b"x"})], "none found in /workspace/weights"),
        ([b"\x28\xb5\x2f\xfd" + bytes(900)], "zstd"),
        ([], "none found in"),
    ],
)
async def test_an_image_without_a_config_is_told_with_where_it_belongs(
    hub: Hub, site: Site, layers: list[bytes], problem: str
) -> None:
    push(site, "team/model", layers)
    error = await refusal(hub, private(site))
    assert error.reason is PlanReason.MODEL_CONFIG_MISSING
    assert problem in str(error)


async def test_a_config_that_is_none_is_told_with_its_image(
    hub: Hub, site: Site
) -> None:
    push(site, "team/model", [packed({CONFIG: {"a": 1}})])
    error = await refusal(hub, private(site))
    assert error.reason is PlanReason.MODEL_CONFIG_INVALID
    assert f"in {site.host}/team/model:1: hidden_size" in str(error)


@pytest.mark.parametrize(
    "manifest",
    [
        web.Response(status=404),
        web.Response(status=502),
        b"<html>",
        {"manifests": [{"digest": "x", "platform": {"os": "windows"}}, 3]},
    ],
)
async def test_a_registry_that_does_not_tell_is_tried_again(
    hub: Hub, site: Site, manifest: Any
) -> None:
    site.answers["/v2/team/model/manifests/1"] = manifest
    error = await refusal(hub, private(site))
    assert error.reason is PlanReason.REGISTRY_UNREACHABLE
    assert not error.terminal
    assert f"{site.host}/team/model:1" in str(error)


async def test_plain_http_is_spoken_only_where_it_was_allowed(site: Site) -> None:
    push(site, "team/model", [packed({CONFIG: LLAMA})])
    error = await refusal(Hub(Sources(), SystemClock()), private(site))
    assert error.reason is PlanReason.REGISTRY_UNREACHABLE
    assert site.asked == []


async def test_a_model_that_the_hub_has_too_is_sized_by_it(site: Site) -> None:
    """Images that need pull secrets cannot be read; the model may be public."""
    publish(site, "someone/model")
    hub = Hub(Sources(endpoint=site.url), SystemClock())
    preset = await hub.find(private(site, "someone/model", "registry.invalid/x:1"))
    assert preset is not None
    assert preset.weights_gib == 3


async def test_a_path_that_is_no_image_is_not_asked_for(hub: Hub, site: Site) -> None:
    error = await refusal(hub, private(site, image=f"{site.host}/../../etc:1"))
    assert "no image reference" in str(error)
    assert site.asked == []


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("busybox", Reference("registry-1.docker.io", "library/busybox", "latest")),
        ("org/name:2", Reference("registry-1.docker.io", "org/name", "2")),
        ("docker.io/org/name", Reference("registry-1.docker.io", "org/name", "latest")),
        ("ghcr.io/o/n:v1", Reference("ghcr.io", "o/n", "v1")),
        ("localhost/n", Reference("localhost", "n", "latest")),
        ("localhost:5000/a/b/c:x", Reference("localhost:5000", "a/b/c", "x")),
        (
            f"r.io/n:1@sha256:{'a' * 64}",
            Reference("r.io", "n", f"sha256:{'a' * 64}"),
        ),
    ],
)
def test_images_are_found_where_docker_finds_them(
    image: str, reference: Reference
) -> None:
    assert parse_reference(image) == reference


async def test_a_layer_of_many_gzip_files_is_read(hub: Hub, site: Site) -> None:
    whole = layer({CONFIG: json.dumps(LLAMA).encode()})
    parts = [gzip.compress(whole[:512]), gzip.compress(whole[512:])]
    push(site, "team/model", [b"".join(parts)])
    assert (await found(hub, site)).context_length == 8192
