"""Which of a repository's files are the weights that are loaded: pure."""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

#: In parts, with the two ways in which repositories number them.
_PART = re.compile(r"model(\.safetensors)?-\d+-of-(?P<parts>\d+)(\.safetensors)?")
_PICKLED_PART = re.compile(r"pytorch_model-\d+-of-(?P<parts>\d+)\.bin")
_MISTRAL = re.compile(r"consolidated.*\.safetensors")
#: Weights of something other than the model, and states of its training.
_OTHER = re.compile(r"(adapter_model|optimizer|scheduler|training_args|rng_state).*")


class Weights(NamedTuple):
    """The files that are loaded."""

    form: Literal["safetensors", "mistral", "pickled"]
    #: Bytes of all of them.
    size: int
    #: Whether every part of them is in the listing.
    complete: bool


def find_weights(sizes: Mapping[str, int]) -> Weights | None:
    """Return what is loaded of a repository, None where it has no weights.

    A repository may hold the same weights several times. One copy is loaded: one
    file before many, safetensors before Mistral's form before pickles, and nothing
    from folders (original/, metal/, onnx/ …).

    Args:
        sizes: the bytes of each file by its path.
    """
    top = {path: size for path, size in sizes.items() if "/" not in path}
    tensors = {path: size for path, size in top.items() if _loads(path, ".safetensors")}
    pickles = {path: size for path, size in top.items() if _loads(path, ".bin")}
    mistral = {path: size for path, size in tensors.items() if _MISTRAL.fullmatch(path)}
    others = {path: size for path, size in tensors.items() if path not in mistral}
    if "model.safetensors" in tensors:
        return Weights("safetensors", tensors["model.safetensors"], complete=True)
    if parts := _parts(tensors, _PART):
        return Weights("safetensors", *parts)
    if mistral:
        return Weights("mistral", sum(mistral.values()), complete=True)
    if others:
        return Weights("safetensors", sum(others.values()), complete=True)
    if "pytorch_model.bin" in pickles:
        return Weights("pickled", pickles["pytorch_model.bin"], complete=True)
    if parts := _parts(pickles, _PICKLED_PART):
        return Weights("pickled", *parts)
    if pickles:
        return Weights("pickled", sum(pickles.values()), complete=True)
    return None


def has_mistral_format(paths: Mapping[str, int]) -> bool:
    """Whether a repository has weights in Mistral's own form."""
    return any(_MISTRAL.fullmatch(path) for path in paths)


def _loads(path: str, ending: str) -> bool:
    return path.endswith(ending) and not _OTHER.fullmatch(path)


def _parts(
    sizes: Mapping[str, int], pattern: re.Pattern[str]
) -> tuple[int, bool] | None:
    """Return the bytes of numbered parts, and whether there are all of them."""
    found = {path: match for path in sizes if (match := pattern.fullmatch(path))}
    if not found:
        return None
    wanted = max(int(match["parts"]) for match in found.values())
    return sum(sizes[path] for path in found), len(found) >= wanted
