"""The config.json inside an image, over a registry's HTTP interface.

The OCI distribution spec, asked as anyone may: with no credentials, or with the
token that a registry gives to everybody. Users' pull secrets are not read.
"""

import asyncio
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import httpx

from pykaito.reconcilers.hub import errors
from pykaito.reconcilers.hub.layer import LayerError, LayerReader
from pykaito.reconcilers.hub.web import (
    Answer,
    WebError,
    chunks,
    get,
    opened,
    parameters,
    quoted,
)
from pykaito.reconcilers.inference.manifests.weights import WEIGHT_FOLDERS
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.hub_config import (
    ConfigError,
    Origin,
    parameters_size,
    preset_of,
    read_json,
    weights_of,
)
from pykaito.runtime.presets.hub_files import (
    Weights,
    find_weights,
    has_mistral_format,
)

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
MANIFEST_LIMIT = 4 << 20
#: Bytes of each layer, and of all of them, that are read at most.
LAYER_LIMIT = 64 << 20
IMAGE_LIMIT = 256 << 20
#: Seconds that reading layers may take.
READING_SECONDS = 8.0

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        *_INDEXES,
    )
)
_DENIED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
_DIGEST = r"sha\d+:[0-9a-f]{32,128}"
_REFERENCE = re.compile(
    r"(?:(?P<registry>localhost|[\w-]*[.:][\w.:-]*|\[[0-9a-f:]+\](?::\d+)?)/)?"
    r"(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    rf"(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_TOKEN = re.compile(r"[\x21-\x7e]+")
#: More than any layer has; a number above it is a mistake.
_MOST = 2**50


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is."""

    registry: str
    repository: str
    #: A tag or a digest.
    version: str


@dataclass(slots=True)
class Found:
    """What layers held of the folders with weights."""

    contents: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    #: Bytes of layers that were not read to their end.
    unread: int = 0
    #: Why layers could not be read.
    problems: list[str] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """The folder that the weights are copied from, empty if not found yet."""
        for folder in map(_relative, WEIGHT_FOLDERS):
            if f"{folder}/{CONFIG}" in self.contents:
                return folder
        return ""

    @property
    def enough(self) -> bool:
        """Whether the size of the weights is known, too."""
        if not self.folder:
            return False
        weights = find_weights(self.files())
        index = f"{self.folder}/{INDEX}" in self.contents
        return index or (weights is not None and weights.complete)

    def files(self) -> Mapping[str, int]:
        """Return the bytes of each file in the folder."""
        start = f"{self.folder}/"
        return {
            path.removeprefix(start): size
            for path, size in self.sizes.items()
            if path.startswith(start)
        }


def parse_reference(image: str) -> Reference:
    """Return where an image is, with Docker's defaults for what is left out.

    Raises:
        PlanError: it is no reference of an image.
    """
    match = _REFERENCE.fullmatch(image)
    if match is None:
        raise errors.image_without_config(
            image, "it is no image reference, such as registry/name:tag"
        )
    registry = match["registry"] or "docker.io"
    repository = match["repository"]
    if registry in {"docker.io", "index.docker.io"}:
        registry = "registry-1.docker.io"
        repository = repository if "/" in repository else f"library/{repository}"
    return Reference(registry, repository, match["digest"] or match["tag"] or "latest")


async def fetch(
    client: httpx.AsyncClient,
    image: str,
    name: str,
    insecure_registries: Collection[str] = (),
) -> Preset:
    """Return what the config.json in an image tells of its model.

    Args:
        client: for this lookup.
        image: the image.
        name: what people call the model.
        insecure_registries: those that speak plain HTTP.

    Raises:
        PlanError: it cannot be read, or is not of a model, and why.
        WebError: the registry gives no usable answer.
    """
    registry = _Registry(client, parse_reference(image), insecure_registries, image)
    manifest = await registry.manifest()
    found = Found()
    try:
        async with asyncio.timeout(READING_SECONDS):
            await _read(registry, manifest, found)
    except TimeoutError:
        found.problems.append(f"reading it took more than {READING_SECONDS:g} s")
    if not found.folder:
        why = "".join(f"; {problem}" for problem in dict.fromkeys(found.problems))
        raise errors.image_without_config(
            image,
            f"none found in {', '.join(WEIGHT_FOLDERS)} of it, within "
            f"{LAYER_LIMIT >> 20} MiB of each layer{why}",
        )
    try:
        return _preset(found, name)
    except ConfigError as error:
        raise errors.invalid(name, f"in {image}", str(error)) from None


def _preset(found: Found, name: str) -> Preset:
    config = read_json(found.contents[f"{found.folder}/{CONFIG}"])
    index = found.contents.get(f"{found.folder}/{INDEX}")
    files = found.files()
    if found.enough or not found.unread:
        weights = weights_of(config, files, read_json(index) if index else None)
    else:
        try:
            size = parameters_size(config)
        except ConfigError:
            # What was too large to read is the weights, and little else.
            size = found.unread
        weights = Weights("safetensors", size, complete=True)
    origin = Origin(name=name, mistral_format=has_mistral_format(files))
    return preset_of(config, weights, origin)


async def _read(
    registry: "_Registry", manifest: Mapping[str, Any], found: Found
) -> None:
    """Look into layers, the smallest first, until the model is known."""
    listed = manifest.get("layers")
    layers = [
        (layer["size"], layer["digest"])
        for layer in (listed if isinstance(listed, list) else ())
        if isinstance(layer, Mapping)
        and isinstance(layer.get("size"), int)
        and 0 <= layer["size"] <= _MOST
        and re.fullmatch(_DIGEST, str(layer.get("digest")))
    ]
    budget = IMAGE_LIMIT
    for size, digest in sorted(layers):
        if size > LAYER_LIMIT:
            found.unread += size
        if found.enough or budget <= 0:
            continue
        reader = LayerReader(_wanted, _listed)
        try:
            budget -= await registry.read(digest, reader, min(LAYER_LIMIT, budget))
        except (LayerError, WebError) as error:
            found.problems.append(f"a layer cannot be read: {error}")
        found.contents |= reader.contents
        found.sizes |= reader.sizes


class _Registry:
    """One image of a registry."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        reference: Reference,
        insecure_registries: Collection[str],
        image: str,
    ) -> None:
        insecure = reference.registry in insecure_registries
        scheme = "http" if insecure else "https"
        self._client = client
        self._base = f"{scheme}://{reference.registry}/v2/{reference.repository}"
        self._version = reference.version
        self._insecure = insecure
        self._image = image
        self._headers: dict[str, str] = {}

    async def manifest(self) -> Mapping[str, Any]:
        """Return the image's manifest for linux on amd64."""
        answer = await self._manifest(self._version)
        if answer.status == httpx.codes.UNAUTHORIZED:
            await self._authorize(answer.headers.get("www-authenticate", ""))
            answer = await self._manifest(self._version)
        manifest = self._checked(answer)
        if isinstance(manifest.get("manifests"), list):
            answer = await self._manifest(_for_linux(manifest["manifests"]))
            manifest = self._checked(answer)
        return manifest

    async def read(self, digest: str, reader: LayerReader, limit: int) -> int:
        """Feed a layer to the reader; return how many bytes were."""
        url = f"{self._base}/blobs/{digest}"
        taken = 0
        async with opened(self._client, url, headers=self._headers) as response:
            if response.status_code != httpx.codes.OK:
                raise WebError(f"the registry answered {response.status_code}")
            async for chunk in chunks(response):
                taken += len(chunk)
                # A small piece can unpack to seconds of work.
                await asyncio.to_thread(reader.feed, chunk)
                if reader.done or taken >= limit:
                    break
        return taken

    async def _manifest(self, version: str) -> Answer:
        return await get(
            self._client,
            f"{self._base}/manifests/{version}",
            limit=MANIFEST_LIMIT,
            headers={"Accept": _ACCEPT, **self._headers},
        )

    async def _authorize(self, challenge: str) -> None:
        """Get the token that the registry gives to anyone, if it gives one."""
        told = parameters(challenge)
        realm = told.pop("realm", "")
        allowed = ("https://", "http://") if self._insecure else ("https://",)
        if not realm.startswith(allowed):
            return
        try:
            url = httpx.URL(realm).copy_merge_params(told)
            answer = await get(self._client, str(url), limit=MANIFEST_LIMIT)
            body = read_json(answer.body) if answer.ok else {}
        except (ConfigError, httpx.InvalidURL) as error:
            raise WebError(f"no token at {quoted(realm)}: {error}") from None
        token = body.get("token") or body.get("access_token")
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            self._headers = {"Authorization": f"Bearer {token}"}

    def _checked(self, answer: Answer) -> Mapping[str, Any]:
        if answer.status in _DENIED:
            raise errors.image_without_config(
                self._image,
                "the registry asks for credentials, and the operator does not read "
                "pull secrets",
            )
        if not answer.ok:
            raise WebError(f"it answered {answer.status}")
        try:
            return read_json(answer.body)
        except ConfigError as error:
            raise WebError(f"no manifest: {error}") from None


def _for_linux(manifests: list[Any]) -> str:
    """Return the digest of what runs on linux and amd64.

    Raises:
        WebError: there is none.
    """
    for entry in manifests:
        platform = entry.get("platform") if isinstance(entry, Mapping) else None
        if not isinstance(platform, Mapping):
            continue
        found = (platform.get("os"), platform.get("architecture"))
        digest = str(entry.get("digest"))
        if found == ("linux", "amd64") and re.fullmatch(_DIGEST, digest):
            return digest
    raise WebError("the image has nothing for linux on amd64")


def _wanted(path: str) -> bool:
    return _listed(path) and PurePosixPath(path).name in {CONFIG, INDEX}


def _listed(path: str) -> bool:
    folder, _, _ = path.rpartition("/")
    return folder in map(_relative, WEIGHT_FOLDERS)


def _relative(folder: str) -> str:
    return folder.lstrip("/")
