"""Pack a model's files as an image, which a private preset's Workspace names."""

import re
from pathlib import Path

from hack.cluster.progress import note, step
from hack.images import content
from hack.images.catalogue import FOLDER, Built
from hack.images.store import Store

CONTAINERFILE = FOLDER / "weights" / "Containerfile"


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
    if not re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", name):
        raise ValueError(
            f"name: {name!r} is no image name; it takes lower-case letters, digits"
            " and single '.', '_' or '-' between them"
        )
    if not (folder / "config.json").is_file():
        raise ValueError(f"folder: {folder} holds no config.json, so it is no model")
    store = store or Store()
    salt = [CONTAINERFILE.read_text()]
    tag = content.digest([folder], relative_to=folder, salt=salt)
    built = Built(f"pykaito/weights-{name}", tag)
    with store.locked():
        if size := store.sizes().get(built.reference):
            note(f"weights of {name}: unchanged ({size})")
            return built
        with step(f"weights of {name}"):
            store.build(built.reference, CONTAINERFILE, folder, arguments={})
    return built
