"""Pack files as images that a Workspace names: a model's, or an adapter's."""

import re
from pathlib import Path

from hack.cluster.progress import note, step
from hack.images import content
from hack.images.catalogue import FOLDER, Built
from hack.images.store import Store

WEIGHTS = FOLDER / "weights" / "Containerfile"
ADAPTER = FOLDER / "adapter" / "Containerfile"


def pack_weights(folder: Path, name: str, store: Store | None = None) -> Built:
    """Build an image that holds a folder's files in /workspace/weights.

    Args:
        folder: A model as transformers saves it: config.json, tokenizer, weights.
        name: The image's name, as in ``phi-3``.
        store: Where it goes; the local storage by default.

    Raises:
        ValueError: The name is none for an image, or the folder holds no model.
        ClusterError: buildah failed.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"folder: {folder} holds no config.json, so it is no model")
    return _pack(folder, f"weights-{name}", WEIGHTS, store or Store())


def pack_adapter(folder: Path, name: str, store: Store | None = None) -> Built:
    """Build an image that holds a folder's files in /data.

    Args:
        folder: A LoRA adapter as peft saves it.
        name: The image's name, as in ``legal``.
        store: Where it goes; the local storage by default.

    Raises:
        ValueError: The name is none for an image.
        ClusterError: buildah failed.
    """
    return _pack(folder, f"adapter-{name}", ADAPTER, store or Store())


def _pack(folder: Path, name: str, containerfile: Path, store: Store) -> Built:
    if not re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", name):
        raise ValueError(
            f"name: {name!r} is no image name; it takes lower-case letters, digits"
            " and single '.', '_' or '-' between them"
        )
    salt = [containerfile.read_text()]
    tag = content.digest([folder], relative_to=folder, salt=salt)
    built = Built(f"pykaito/{name}", tag)
    with store.locked():
        if size := store.sizes().get(built.reference):
            note(f"{name} image: unchanged ({size})")
            return built
        with step(f"{name} image"):
            store.build(built.reference, containerfile, folder, arguments={})
    return built
