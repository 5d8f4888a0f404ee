"""Bringing a model's weights into the pod, and keeping what it makes of them."""

from collections.abc import Mapping
from typing import Any

from pykaito.reconcilers.inference.manifests.containers import (
    COPY,
    TOOLS,
    copy_from,
    other_than,
)
from pykaito.runtime.presets.plan import ModelServer
from pykaito.runtime.presets.weights import FromClaim, FromHub, FromImage, FromNode

WEIGHTS = "/workspace/weights"
VOLUME = "weights"

#: Where a claim is mounted that keeps what a server fetched and compiled.
CACHE = "/cache"
CACHE_VOLUME = "cache"
#: Tells the runtimes of it.
CACHE_VARIABLE = "KAITO_CACHE_DIR"

#: Where images keep weights: ours, KAITO's per-model images, and plain ones. The
#: runtimes look there too, in an image that is mounted.
WEIGHT_FOLDERS = (
    WEIGHTS,
    "/workspace/tfs/weights",
    "/workspace/vllm/weights",
    "/models",
    "/data",
)


def volumes(server: ModelServer) -> list[dict[str, Any]]:
    """Return the volumes that the weights are on, and what outlives the pod."""
    found = {"name": VOLUME, **_source(server)}
    if not server.cache_claim:
        return [found]
    kept = {
        "name": CACHE_VOLUME,
        "persistentVolumeClaim": {"claimName": server.cache_claim},
    }
    # What is downloaded goes there as well.
    return [kept] if server.downloads else [found, kept]


def mounts(server: ModelServer) -> list[dict[str, Any]]:
    """Return where the model server finds them.

    Read-only is what others have written: a claim that is not to be written keeps its
    files' owners, too, which the kubelet would change one by one.
    """
    mount: dict[str, Any] = {"name": VOLUME, "mountPath": WEIGHTS}
    match server.weights:
        case FromClaim(folder=folder) if folder:
            mount |= {"subPath": folder, "readOnly": True}
        case FromImage(mounted=True) | FromNode() | FromClaim():
            mount |= {"readOnly": True}
    if not server.cache_claim:
        return [mount]
    kept = {"name": CACHE_VOLUME, "mountPath": CACHE}
    return [kept] if server.downloads else [mount, kept]


def downloads(server: ModelServer) -> str:
    """Return the folder that vLLM downloads a model's files to.

    In a cache it is that of the hub's own libraries, where either runtime finds them,
    also while the hub is away.
    """
    return f"{CACHE}/huggingface/hub" if server.cache_claim else WEIGHTS


def _source(server: ModelServer) -> Mapping[str, Any]:
    match server.weights:
        case FromImage(image=image, mounted=True):
            return {"image": {"reference": image}}
        case FromNode(folder=folder):
            return {"hostPath": {"path": folder, "type": "Directory"}}
        case FromClaim(claim=claim):
            return {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        case FromHub() | FromImage():
            return {"emptyDir": {}}


def copy_weights(server: ModelServer, *, main: str) -> list[dict[str, Any]]:
    """Return the init container that copies the weights out of their image.

    None where they come from elsewhere, or the image is mounted.
    """
    match server.weights:
        case FromImage(image=image, mounted=False):
            return [_copy(image, main)]
    return []


def _copy(image: str, main: str) -> dict[str, Any]:
    target = "/mnt/weights"
    script = (
        f"for folder in {' '.join(WEIGHT_FOLDERS)}; do "
        f'if [ -e "$folder/config.json" ]; then exec {TOOLS}/busybox {COPY} '
        f'"$folder/." {target}/; fi; done; '
        f"echo 'no config.json in {' or '.join(WEIGHT_FOLDERS)} of this image' >&2; "
        "exit 1"
    )
    mount = {"name": VOLUME, "mountPath": target}
    return copy_from(image, other_than(main, "weights"), script, mount)
