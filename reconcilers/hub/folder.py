"""Models whose config.json lies in a folder: DIR/org/name/config.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pykaito.api.v1beta1 import inference as api
from pykaito.reconcilers.hub import errors
from pykaito.runtime.presets.catalogue import (
    Preset,
    UnknownPresetError,
    find_preset,
)
from pykaito.runtime.presets.hub_config import (
    ConfigError,
    Origin,
    preset_of,
    read_json,
    weights_of,
)
from pykaito.runtime.presets.hub_files import has_mistral_format
from pykaito.runtime.presets.plan import PlanError, PlanReason

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
#: Bytes of a file that is read, at most.
LIMIT = 16 << 20


def find_offline(spec: api.Preset, folder: Path | None) -> Preset | None:
    """Return what can be known of a model without a network.

    None: the catalogue has it, or has to say that no name is like it.

    Raises:
        PlanError: it is of a hub or in an image, and not in the folder; or its
            config is wrong.
    """
    if in_catalogue(spec.name):
        return None
    if folder and (preset := find_in_folder(folder, spec.name)):
        return preset
    if "/" in spec.name or image_of(spec):
        raise errors.offline(spec.name)
    return None


def in_catalogue(name: str) -> bool:
    """Whether the catalogue has the model, so that nothing is looked up."""
    try:
        find_preset(name)
    except UnknownPresetError:
        return False
    return True


def image_of(spec: api.Preset) -> str:
    """Return the image that holds the model, empty for none."""
    return (spec.preset_options and spec.preset_options.image) or ""


def find_in_folder(root: Path, name: str) -> Preset | None:
    """Return what the folder tells of a model, None if it does not have it.

    The size of the weights is that of the files beside the config.json, else what
    model.safetensors.index.json says, else it follows from the config.

    Raises:
        PlanError: its config.json cannot be read, or is not of a model.
    """
    try:
        folder = _descend(root, name)
        if folder is None or not (folder / CONFIG).is_file():
            return None
        config = _read(folder / CONFIG)
        index = _read(folder / INDEX) if (folder / INDEX).is_file() else None
        sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        repository = folder.relative_to(root).as_posix()
        origin = Origin(
            name=repository,
            hub=repository if "/" in repository else "",
            mistral_format=has_mistral_format(sizes),
        )
        return preset_of(config, weights_of(config, sizes, index), origin)
    except OSError as error:
        raise PlanError(
            PlanReason.MODEL_CONFIG_MISSING,
            f"inference.preset.name: the config.json of {name} in {root} cannot be "
            f"read: {error.strerror}",
        ) from None
    except ConfigError as error:
        raise errors.invalid(name, f"in {root}", str(error)) from None


def _descend(root: Path, name: str) -> Path | None:
    """Return the folder of a name, whatever its case."""
    folder = root
    for part in name.lower().split("/"):
        found = [below for below in folder.iterdir() if below.name.lower() == part]
        if not found or not found[0].is_dir():
            return None
        folder = found[0]
    return folder


def _read(file: Path) -> Mapping[str, Any]:
    with file.open("rb") as stream:
        content = stream.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise ConfigError(f"{file.name} has more than {LIMIT >> 20} MiB")
    return read_json(content)
