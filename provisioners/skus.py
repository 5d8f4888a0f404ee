"""Instance types and their GPUs: ``skus.yaml``, read once, looked up by name."""

import difflib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Cloud = Literal["azure", "aws", "arc"]


class UnknownSkuError(LookupError):
    """The instance type is in no table; ``nearest`` are some that are."""

    def __init__(self, name: str, nearest: list[str]) -> None:
        self.name = name
        self.nearest = nearest
        hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
        super().__init__(f"instance type {name!r} is not known{hint}")


class _Row(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, defer_build=True, extra="forbid", frozen=True
    )


class Gpu(_Row):
    """One accelerator."""

    vendor: Literal["nvidia", "amd", "aws"]
    #: Memory in MiB, as the vendor's tool reports it.
    memory_mib: int = Field(ge=1, alias="memoryMiB")
    #: CUDA compute capability; 0 for what has none.
    capability: float = Field(default=0, ge=0)

    @property
    def bfloat16(self) -> bool:
        """Whether it computes in bfloat16."""
        return self.capability >= 8.0  # noqa: PLR2004 - where CUDA begins to


class _Skus(_Row):
    gpu: str
    count: int = Field(ge=1)
    names: tuple[str, ...] = Field(min_length=1)
    retired: bool = False


class _Tables(_Row):
    gpus: dict[str, Gpu]
    skus: dict[Cloud, tuple[_Skus, ...]]


@dataclass(frozen=True, slots=True)
class Sku:
    """One instance type."""

    name: str
    cloud: Cloud
    #: Its accelerators' model, such as A100-80GB.
    model: str
    gpu: Gpu
    #: How many it has.
    count: int
    #: Whether it can no longer be bought.
    retired: bool


@cache
def skus() -> dict[str, Sku]:
    """Return every known instance type by its lower-case name."""
    text = files(__package__).joinpath("skus.yaml").read_text()
    tables = _Tables.model_validate(yaml.load(text, yaml.CSafeLoader))
    return {
        name.lower(): Sku(
            name=name,
            cloud=cloud,
            model=row.gpu,
            gpu=tables.gpus[row.gpu],
            count=row.count,
            retired=row.retired,
        )
        for cloud, rows in tables.skus.items()
        for row in rows
        for name in row.names
    }


def find_sku(name: str) -> Sku:
    """Return the instance type of that name, whatever its case.

    Raises:
        UnknownSkuError: no table has it; the error names the nearest.
    """
    if sku := skus().get(name.lower()):
        return sku
    near = difflib.get_close_matches(name.lower(), skus(), n=2, cutoff=0.7)
    raise UnknownSkuError(name, [skus()[key].name for key in near])
