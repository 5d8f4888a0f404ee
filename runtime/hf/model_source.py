"""Whether there is a model to load at all; told before torch is imported."""

from pathlib import Path

FLAG = "--pretrained_model_name_or_path"


class LoadError(Exception):
    """The model cannot be served; the message is one line for a person."""


def check_source(source: str) -> None:
    """Raise `LoadError` if a path leads to no model; a hub's id may be right."""
    path = Path(source)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise LoadError(
                f"{FLAG}: found {source!r}, a folder without config.json: it must "
                "hold a model as transformers saves one (config.json, *.safetensors, "
                "tokenizer files)"
            )
    elif path.is_absolute() or source.startswith("."):
        raise LoadError(f"{FLAG}: found {source!r}, which is no folder here")
