"""The model catalogue: ``catalogue.yaml``, read once, looked up by name."""

import difflib
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class UnknownPresetError(LookupError):
    """The name is not in the catalogue; ``nearest`` are names that are."""

    def __init__(self, name: str, nearest: list[str]) -> None:
        self.name = name
        self.nearest = nearest
        hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
        super().__init__(f"preset {name!r} is not in the catalogue{hint}")


class Preset(BaseModel):
    """What is known of a model before it is downloaded."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    name: str
    #: Repository on the hub; empty when users must bring an image.
    hub: str = ""
    licence: str
    #: GPUs that hold the weights.
    gpus: int = Field(ge=1)
    #: GPU memory of all of them, in GiB.
    gpu_memory_gib: int = Field(ge=1, alias="gpuMemoryGiB")
    #: Disk that image and weights take, in GiB.
    disk_gib: int = Field(ge=1, alias="diskGiB")
    dtype: Literal["auto", "float16", "bfloat16"]
    #: Tokens that prompt and answer share.
    context_length: int = Field(ge=1)
    #: Minutes that loading may take before it counts as failed.
    readiness_minutes: int = Field(default=30, ge=1)

    @property
    def private_only(self) -> bool:
        """Whether its weights come from an image that the user names."""
        return not self.hub


@cache
def catalogue() -> dict[str, Preset]:
    """Return every preset by its lower-case name."""
    text = files(__package__).joinpath("catalogue.yaml").read_text()
    presets = (Preset.model_validate(row) for row in yaml.safe_load(text)["presets"])
    return {preset.name.lower(): preset for preset in presets}


def find_preset(name: str) -> Preset:
    """Return the preset of that name, whatever its case.

    Raises:
        UnknownPresetError: no preset has it; the error names the nearest.
    """
    known = catalogue()
    if preset := known.get(name.lower()):
        return preset
    raise UnknownPresetError(name, difflib.get_close_matches(name.lower(), known, n=2))
