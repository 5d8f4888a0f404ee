"""Where the model is, if there is one to load at all; told before torch is imported."""

from collections.abc import Sequence
from pathlib import Path

FLAG = "--pretrained_model_name_or_path"

#: Where images of models keep them: ours, KAITO's, and plain ones. One that is mounted
#: as a volume has them below its mount point.
IMAGE_FOLDERS = (
    "workspace/weights",
    "workspace/tfs/weights",
    "workspace/vllm/weights",
    "models",
    "data",
)


class LoadError(Exception):
    """The model cannot be served; the message is one line for a person."""


def find_model(
    source: str, *, flag: str = FLAG, files: Sequence[str] = ("config.json",)
) -> str:
    """Return the folder that holds the model; a hub's id is returned as it is.

    It is the source itself, or the first of IMAGE_FOLDERS in it.

    Args:
        source: a folder, or a model's id.
        flag: that named it.
        files: one of which a folder has that holds a model.

    Raises:
        LoadError: a path leads to no model.
    """
    path = Path(source)
    if path.is_dir():
        for folder in (path, *(path / below for below in IMAGE_FOLDERS)):
            if any((folder / file).is_file() for file in files):
                return str(folder)
        raise LoadError(
            f"{flag}: found {source!r}, a folder without {' or '.join(files)}, also "
            f"in its folders {', '.join(IMAGE_FOLDERS)}: it must hold a model as "
            "transformers saves one (config.json, *.safetensors, tokenizer files)"
        )
    # vLLM reads some formats of single files.
    if (path.is_absolute() or source.startswith(".")) and not path.exists():
        raise LoadError(f"{flag}: found {source!r}, which is no folder here")
    return source
