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


class _Row(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        defer_build=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
    )


class Attention(_Row):
    """What a model remembers of each token of a sequence."""

    kind: Literal["mha", "gqa", "mqa", "mla"]
    #: In a cache of 16 bits, with every layer attending to everything.
    bytes_per_token: int = Field(ge=1)
    #: Heads that a cache can be divided by; 1 where each GPU keeps all of it.
    kv_heads: int = Field(ge=1)
    #: All layers, where the three below are known; 0 where they are not.
    layers: int = Field(default=0, ge=0)
    full_layers: int = Field(default=0, ge=0)
    sliding_layers: int = Field(default=0, ge=0)
    #: Tokens that a sliding layer attends to.
    window: int = Field(default=0, ge=0)


class Preset(_Row):
    """What is known of a model before it is downloaded."""

    name: str
    #: Repository on the hub; empty when users must bring an image.
    hub: str = ""
    #: Commit that is downloaded; empty for the newest.
    revision: str = Field(default="", pattern="^([0-9a-f]{40})?$")
    #: Class that the weights are for, as config.json names it; empty if unknown.
    architecture: str = ""
    #: Whether the repository also has Mistral's own form of weights and tokenizer.
    mistral_format: bool = False
    licence: str
    #: Whether the hub asks for an account that accepted the licence.
    gated: bool = False
    weights_gib: float = Field(gt=0, alias="weightsGiB")
    #: How the weights are stored; empty for 16 bits.
    quantization: Literal[
        "", "awq", "fp8", "gptq", "int4", "int8", "mxfp4", "nvfp4"
    ] = ""
    dtype: Literal["auto", "float16", "bfloat16"]
    #: Tokens that prompt and answer share.
    context_length: int = Field(ge=1)
    attention: Attention
    #: GPUs to ask for where nothing is known of them; None to assume large ones.
    gpus: int | None = Field(default=None, ge=1)
    #: Disk that image and weights take, in GiB.
    disk_gib: int = Field(ge=1, alias="diskGiB")
    #: Minutes that loading may take before it counts as failed.
    readiness_minutes: int = Field(default=30, ge=1)
    #: Whether the transformers runtime serves it.
    transformers: bool = True
    #: Whether it can be tuned.
    tuning: bool = False

    @property
    def private_only(self) -> bool:
        """Whether its weights come from an image that the user names."""
        return not self.hub

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it is found by, in lower case."""
        hub = self.hub.lower()
        return tuple(dict.fromkeys(filter(None, (self.name, hub, _last_part(hub)))))


@cache
def catalogue() -> dict[str, Preset]:
    """Return every preset by its lower-case name."""
    text = files(__package__).joinpath("catalogue.yaml").read_text()
    rows = yaml.load(text, yaml.CSafeLoader)["presets"]
    presets = (Preset.model_validate(row) for row in rows)
    return {preset.name: preset for preset in presets}


@cache
def _by_any_name() -> dict[str, Preset]:
    return {name: preset for preset in catalogue().values() for name in preset.names}


def find_preset(name: str) -> Preset:
    """Return the preset of that name or hub repository, whatever its case.

    Raises:
        UnknownPresetError: no preset has it; the error names the nearest.
    """
    wanted = name.lower()
    if preset := _by_any_name().get(wanted):
        return preset
    near = difflib.get_close_matches(_last_part(wanted), catalogue(), n=2)
    raise UnknownPresetError(name, near)


def _last_part(repository: str) -> str:
    return repository.rpartition("/")[2]
