"""Which of a model's files vLLM reads: pure.

Hubs have the weights of many models several times, in formats of other programs too.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

#: Values of ``--load-format`` that the choice below is right for.
FORMATS = frozenset(
    {
        "auto",
        "hf",
        "safetensors",
        "mistral",
        "bitsandbytes",
        "fastsafetensors",
        "instanttensor",
        "runai_streamer",
    }
)

#: Folders with a copy of the model for other programs.
COPIES = ("original", "metal", "onnx", "openvino", "coreml", "gguf")

#: Patterns of what every model consists of beside its weights.
SMALL = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "*.py")

#: Weights, vLLM's formats of choice first.
_SAFE = ".safetensors"
_PICKLES = (".bin", ".pt")
_WEIGHTS = frozenset(
    {_SAFE, *_PICKLES}
    | {".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".onnx_data", ".gguf"}
)
#: What people read.
_PAPERS = frozenset(
    {".md", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".mp4"}
)
#: What a training leaves behind.
_LEFTOVERS = re.compile(r"(training_args|optimizer|scheduler|scaler)\.(bin|pt)")
#: Part of a pooling model, in a folder of its own.
_MODULE = re.compile(r"\d+_\w+")
_SHARD = re.compile(r"-(\d+)-of-(\d+)\.\w+$")


def files_of(names: Iterable[str], load_format: str) -> list[str]:
    """Return the files that vLLM reads.

    Args:
        names: those that the hub has of the model.
        load_format: one of FORMATS.
    """
    paths = [PurePosixPath(name) for name in names]
    wanted = [path for path in paths if _is_of_model(path)]
    small = [path for path in wanted if path.suffix not in _WEIGHTS]
    return [str(path) for path in [*small, *_weights(wanted, load_format)]]


def weights_of(names: Iterable[str], load_format: str) -> list[str]:
    """Return those that hold the model's weights."""
    paths = [PurePosixPath(name) for name in names]
    found = _weights([path for path in paths if _is_of_model(path)], load_format)
    return [str(path) for path in found if not _folder(path)]


def is_complete(names: Iterable[str], load_format: str) -> bool:
    """Whether the files of a folder are all of the weights, as far as names tell."""
    weights = weights_of(names, load_format)
    shards = [found for name in weights if (found := _SHARD.search(name))]
    return bool(weights) and all(int(one[2]) == len(shards) for one in shards)


def _is_of_model(path: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.suffix not in _PAPERS and path.parts[0] not in COPIES


def _weights(
    paths: Iterable[PurePosixPath], load_format: str
) -> Iterable[PurePosixPath]:
    """Yield one copy of the weights, from each folder that is read."""
    by_folder: dict[str, list[PurePosixPath]] = {}
    for path in paths:
        if path.suffix in _WEIGHTS and not _LEFTOVERS.fullmatch(path.name):
            by_folder.setdefault(_folder(path), []).append(path)
    for folder, found in by_folder.items():
        if not folder or _MODULE.fullmatch(folder):
            yield from _one_copy(found, load_format)


def _one_copy(
    paths: Iterable[PurePosixPath], load_format: str
) -> Iterable[PurePosixPath]:
    safe = [path for path in paths if path.suffix == _SAFE]
    mistrals = [path for path in safe if path.match("consolidated*")]
    # vLLM prefers them too, unless it is told otherwise.
    if mistrals and load_format in {"auto", "mistral"}:
        return mistrals
    if others := [path for path in safe if path not in mistrals]:
        return others
    by_kind = ([p for p in paths if p.suffix == kind] for kind in _PICKLES)
    return next(filter(None, by_kind), [])


def _folder(path: PurePosixPath) -> str:
    return "" if path.parent == PurePosixPath() else str(path.parent)
