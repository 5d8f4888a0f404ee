"""Whether an adapter fits the model that it is to be added to, before vLLM loads both.

vLLM would find out minutes later, and say that two tensors differ in size.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.lora_files import (
    DTYPES,
    AdapterFiles,
    Factors,
    Shape,
    read_adapter,
)

log = logging.getLogger(__name__)

WEIGHT = ".weight"


def check_adapters(adapters: Iterable[Adapter], model: Path) -> None:
    """Check adapters against the weights in a model's folder.

    Args:
        adapters: Those that are to be served.
        model: The folder; nothing is checked where there is none.

    Raises:
        LoadError: one is another model's, or malformed.
    """
    shapes = weight_shapes(model)
    for adapter in adapters:
        check_fit(read_adapter(adapter), shapes)


def weight_shapes(folder: Path) -> dict[str, Shape]:
    """Return the shapes of a model's weights by the names of their modules.

    Only the files' headers are read. Weights that are quantised are left out, since
    they have other shapes than what they stand for; so is what cannot be read, of
    which vLLM tells more.
    """
    shapes: dict[str, Shape] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as file:
                for key in file.keys():  # noqa: SIM118 - no dict
                    tensor = file.get_slice(key)
                    if key.endswith(WEIGHT) and tensor.get_dtype() in DTYPES:
                        name = key.removesuffix(WEIGHT)
                        shapes[name] = tuple(tensor.get_shape())
        except (SafetensorError, OSError) as error:
            log.warning("cannot read weights", extra={"path": path, "error": error})
    return shapes


def check_fit(adapter: AdapterFiles, shapes: Mapping[str, Shape]) -> None:
    """Check an adapter's factors against the weights that they are added to.

    Modules that the weights' files do not name are left to vLLM, which may put several
    of them together.

    Args:
        adapter: The adapter.
        shapes: Of the base model's weights, by module.

    Raises:
        LoadError: a factor has another shape than it needs.
    """
    trained = f"; it was trained on {adapter.config.base_model!r}"
    made_for = "the adapter is another model's" + trained * bool(
        adapter.config.base_model
    )
    for name, factors in adapter.factors.items():
        found = _product(factors)
        right = shapes.get(name)
        # Some architectures keep a layer's weights with a row for each input.
        if right is not None and found not in {right, right[::-1]}:
            raise adapter.error(
                f"{name}: the product of its factors has the shape {list(found)}, the "
                f"base model's weights there have {list(right)}; {made_for}"
            )
        rank = adapter.config.rank_of(name)
        if not factors.a_shape[0] == factors.b_shape[-1] == rank:
            raise adapter.error(
                f"{name}: found lora_A of the shape {list(factors.a_shape)} and lora_B "
                f"of {list(factors.b_shape)}, whose inner dimension must be the "
                f"rank {rank}"
            )


def _product(factors: Factors) -> Shape:
    return (*factors.b_shape[:-1], *factors.a_shape[1:])
