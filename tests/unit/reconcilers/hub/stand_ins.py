"""Stand-ins for a hub and for a registry: a web server on loopback that is told.

They answer what the interfaces are documented to answer, and what proxies and
broken servers do. What the real ones answer is not tested here.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

COMMIT = "0123456789abcdef0123456789abcdef01234567"

LLAMA: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
    "vocab_size": 32000,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Site:
    """A web server; each path has an answer, all others are not found."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    #: Paths that were asked for, in order.
    asked: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.headers.append(request.headers)
        found = self.answers.get(request.path)
        if callable(found):
            return await found(request)
        if isinstance(found, web.Response):
            return web.Response(
                body=found.body, status=found.status, headers=found.headers
            )
        if isinstance(found, bytes):
            return web.Response(body=found)
        if found is None:
            return web.Response(status=404)
        return web.json_response(found)


@asynccontextmanager
async def serve() -> AsyncIterator[Site]:
    """Run a site on a free port of loopback."""
    site = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        listener = web.TCPSite(runner, "127.0.0.1", 0)
        await listener.start()
        site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield site
    finally:
        await runner.cleanup()


def publish(
    site: Site, name: str, config: Mapping[str, Any] = LLAMA, **told: Any
) -> None:
    """Put a model on a hub: two parts of weights, and a copy that is not loaded."""
    sizes = {
        "config.json": 700,
        "model-00001-of-00002.safetensors": 2 << 30,
        "model-00002-of-00002.safetensors": 1 << 30,
        "original/consolidated.00.pth": 3 << 30,
    }
    site.answers[f"/api/models/{name}"] = {
        "id": name,
        "sha": COMMIT,
        "gated": False,
        "siblings": [{"rfilename": file, "size": size} for file, size in sizes.items()],
        **told,
    }
    site.answers[f"/{name}/resolve/{COMMIT}/config.json"] = dict(config)


def layer(files: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a layer's tar, not compressed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def push(site: Site, name: str, layers: Sequence[bytes], *, tag: str = "1") -> None:
    """Put an image into a registry: an index, a manifest and its layers."""
    listed = []
    for content in layers:
        site.answers[f"/v2/{name}/blobs/{digest(content)}"] = content
        listed.append({"digest": digest(content), "size": len(content)})
    manifest = json.dumps({"schemaVersion": 2, "layers": listed}).encode()
    site.answers[f"/v2/{name}/manifests/{digest(manifest)}"] = manifest
    arm = {"os": "linux", "architecture": "arm64"}
    amd = {"os": "linux", "architecture": "amd64"}
    site.answers[f"/v2/{name}/manifests/{tag}"] = {
        "manifests": [
            {"digest": digest(b"arm"), "platform": arm},
            {"digest": digest(manifest), "platform": amd},
        ]
    }


def packed(files: Mapping[str, Any]) -> bytes:
    """Return a compressed layer; what is not bytes is written as JSON."""
    return gzip.compress(
        layer(
            {
                path: content
                if isinstance(content, bytes)
                else json.dumps(content).encode()
                for path, content in files.items()
            }
        )
    )
