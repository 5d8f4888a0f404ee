"""Bringing the weights of a private image into the pod."""

from typing import Any

from pykaito.reconcilers.inference.manifests.containers import (
    TOOLS,
    copy_from,
    other_than,
)

WEIGHTS = "/workspace/weights"

#: Where images keep weights: ours, KAITO's per-model images, and plain ones.
WEIGHT_FOLDERS = (
    WEIGHTS,
    "/workspace/tfs/weights",
    "/workspace/vllm/weights",
    "/models",
    "/data",
)


def copy_weights(image: str, *, main: str) -> dict[str, Any]:
    """Return the init container that copies the weights out of their image."""
    target = "/mnt/weights"
    script = (
        f"for folder in {' '.join(WEIGHT_FOLDERS)}; do "
        f'if [ -e "$folder/config.json" ]; then exec {TOOLS}/busybox cp -r '
        f'"$folder/." {target}/; fi; done; '
        f"echo 'no config.json in {' or '.join(WEIGHT_FOLDERS)} of this image' >&2; "
        "exit 1"
    )
    mount = {"name": "weights", "mountPath": target}
    return copy_from(image, other_than(main, "weights"), script, mount)
