"""Instance types and their GPUs, as data: read once, looked up by name.

``skus.yaml`` has those of the clouds whose provisioners come with the operator. A third
party's distribution adds a table of that form without a fork: under the entry-point
group ``pykaito.skus`` it names an object with the file, such as a `pathlib.Path`.
"""

import difflib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Cloud = Literal["azure", "aws", "arc"]
"""Clouds whose instance types come with the operator."""

GROUP = "pykaito.skus"


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
    skus: dict[str, tuple[_Skus, ...]]


@dataclass(frozen=True, slots=True)
class Sku:
    """One instance type."""

    name: str
    #: Who sells it: a `Cloud`, or one of a third party.
    cloud: str
    #: Its accelerators' model, such as A100-80GB.
    model: str
    gpu: Gpu
    #: How many it has.
    count: int
    #: Whether it can no longer be bought.
    retired: bool


@cache
def skus() -> dict[str, Sku]:
    """Return the instance types that come with the operator by lower-case name."""
    return _read(files(__package__).joinpath("skus.yaml"))


@cache
def others() -> dict[str, Sku]:
    """Return the instance types of third parties by lower-case name.

    They are looked for once a name is not among ours: what is installed takes a while
    to find out.
    """
    # Loading this takes longer than our tables.
    from importlib.metadata import entry_points  # noqa: PLC0415

    found: dict[str, Sku] = {}
    for entry in entry_points(group=GROUP):
        found |= _read(entry.load())
    return {name: sku for name, sku in found.items() if name not in skus()}


def _read(table: Traversable) -> dict[str, Sku]:
    tables = _Tables.model_validate(yaml.load(table.read_text(), yaml.CSafeLoader))
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
    wanted = name.lower()
    if sku := skus().get(wanted) or others().get(wanted):
        return sku
    known = {**skus(), **others()}
    near = difflib.get_close_matches(wanted, known, n=2, cutoff=0.7)
    raise UnknownSkuError(name, [known[key].name for key in near])


def sold_beside(name: str) -> list[Sku]:
    """Return what is sold by whom an instance type is of, that one among it.

    Of an unknown one, all that come with the operator.
    """
    ours = list(skus().values())
    try:
        sku = find_sku(name) if name else None
    except UnknownSkuError:
        sku = None
    if sku is None:
        return ours
    table = skus() if sku.name.lower() in skus() else others()
    return [other for other in table.values() if other.cloud == sku.cloud]
