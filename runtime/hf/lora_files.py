"""An adapter's files, checked before the model is loaded, which takes minutes.

Nothing of an adapter is run: weights are read as safetensors alone, since what
else torch saves is a pickle, and no file is read outside the adapter's folder.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.lora_config import (
    LoraConfig,
    LoraConfigError,
    parse_lora_config,
)
from pykaito.runtime.hf.model_source import LoadError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"

#: Bytes that are read of a configuration; peft's have one or two thousand.
MOST_CONFIG_BYTES = 1 << 20

#: What peft puts before the names that the base model gives its modules.
PREFIX = "base_model.model."

FACTOR = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.weight)?")
#: peft saves the base model's own weights beside an adapter of an embedding.
COPY = re.compile(r"(.+?)(?:\.base_layer)?\.weight")

DTYPES = frozenset(("F16", "BF16", "F32", "F64"))

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """The names and shapes of the two tensors that a module's delta is made of."""

    a: str
    b: str
    a_shape: Shape
    b_shape: Shape
    #: Whether they were made for an embedding, whose product lies transposed.
    embedding: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFiles:
    """An adapter whose files are sound; whether it fits the model is not known."""

    adapter: Adapter
    config: LoraConfig
    #: By the base model's name of the module.
    factors: Mapping[str, Factors]
    #: Names of tensors that must be what the module's weights are anyway.
    copies: Mapping[str, str]

    @property
    def weights(self) -> Path:
        """The file with the tensors."""
        return self.adapter.folder / WEIGHTS

    def share_of(self, module: str) -> float:
        """Return what the product of a module's two factors is added with."""
        return self.adapter.strength * self.config.scaling_of(module)

    def error(self, what: str) -> LoadError:
        """Return the error that what the tensors say is wrong."""
        return wrong(self.adapter, self.weights, what)


def read_adapter(adapter: Adapter) -> AdapterFiles:
    """Read an adapter's configuration and the names and shapes of its tensors.

    Raises:
        LoadError: if a file is missing, malformed, or holds what plain LoRA has not.
    """
    folder = adapter.folder
    if not (folder / CONFIG).exists():
        raise wrong(
            adapter,
            folder,
            f"holds no {CONFIG}: it must hold the files that peft saves, {CONFIG} and "
            f"{WEIGHTS}",
        )
    config = _read_config(adapter, _own_file(adapter, CONFIG))
    if not (folder / WEIGHTS).exists() and (folder / PICKLED).exists():
        raise wrong(
            adapter,
            folder / PICKLED,
            "is a pickle, which can run code and is not read; save the adapter as "
            f"{WEIGHTS}, which is what peft does by default",
        )
    path = _own_file(adapter, WEIGHTS)
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - no dict
            dtypes = {key: one.get_dtype() for key, one in slices.items()}
            shapes = {key: tuple(one.get_shape()) for key, one in slices.items()}
    except (SafetensorError, OSError) as error:
        raise wrong(adapter, path, f"is no safetensors file ({error})") from error
    for key, dtype in dtypes.items():
        if dtype not in DTYPES:
            raise wrong(adapter, path, f"{key}: found {dtype}, must be floating-point")
    factors, rest = _pair(adapter, shapes)
    return AdapterFiles(
        adapter=adapter,
        config=config,
        factors=factors,
        copies=_copies(adapter, rest),
    )


def wrong(adapter: Adapter, path: Path, what: str) -> LoadError:
    """Return the error that a file of an adapter is at fault."""
    return LoadError(f"adapter {adapter.name!r}: {path} {what}")


def _own_file(adapter: Adapter, name: str) -> Path:
    """Return a file of the folder; a link may lead nowhere else."""
    path = adapter.folder / name
    real = path.resolve()
    if not real.is_relative_to(adapter.folder.resolve()):
        raise wrong(adapter, path, f"is a link that leads out of its folder, to {real}")
    if not real.is_file():
        raise wrong(adapter, path, "is missing, or no file")
    return real


def _read_config(adapter: Adapter, path: Path) -> LoraConfig:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_CONFIG_BYTES)
        return parse_lora_config(content.decode())
    except (OSError, UnicodeDecodeError, LoraConfigError) as error:
        raise wrong(adapter, path, f"cannot be used: {error}") from error


def _pair(
    adapter: Adapter, shapes: Mapping[str, Shape]
) -> tuple[dict[str, Factors], list[str]]:
    """Return each module's two factors, and the names of other tensors."""
    found: dict[tuple[str, bool], dict[str, str]] = {}
    rest: list[str] = []
    for key in sorted(shapes):
        if (match := FACTOR.fullmatch(key)) is None:
            rest.append(key)
            continue
        place = (match[1].removeprefix(PREFIX), match[2] is not None)
        found.setdefault(place, {})[match[3]] = key
    path = adapter.folder / WEIGHTS
    factors: dict[str, Factors] = {}
    for (module, embedding), pair in found.items():
        if len(pair) == 1 or module in factors:
            raise wrong(adapter, path, f"{module}: must have one lora_A and one lora_B")
        factors[module] = Factors(
            a=pair["A"],
            b=pair["B"],
            a_shape=shapes[pair["A"]],
            b_shape=shapes[pair["B"]],
            embedding=embedding,
        )
    if not factors:
        raise wrong(adapter, path, "holds no lora_A and lora_B tensors")
    return factors, rest


def _copies(adapter: Adapter, keys: Iterable[str]) -> dict[str, str]:
    """Map modules to the tensors that came along for them."""
    copies: dict[str, str] = {}
    for key in keys:
        match = COPY.fullmatch(key)
        if match is None or ".lora_" in key:
            raise wrong(
                adapter,
                adapter.folder / WEIGHTS,
                f"{key}: is no lora_A or lora_B tensor of a linear layer or an "
                "embedding; only plain LoRA can be merged",
            )
        copies[match[1].removeprefix(PREFIX)] = key
    return copies
