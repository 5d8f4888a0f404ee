"""Adapters merged into the base model's weights, once, while the server starts.

    W = W0 + Σ strength · scaling · B @ A        over the adapters of a module

The sum is taken in float32 and added once, so that ten adapters cost the one
rounding to the weights' own type that a single one costs. Merged, an adapter
takes no time per token; `lora_correction` is for requests that ask for one alone.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from safetensors import safe_open
from transformers.pytorch_utils import Conv1D

from pykaito.runtime.hf.lora_files import AdapterFiles, Factors
from pykaito.runtime.hf.model_source import LoadError

log = logging.getLogger(__name__)

Tensor = Any  # torch publishes no types that strict mode can read
Module = Any

#: An adapter and its opened tensors.
Opened = tuple[AdapterFiles, Any]

#: Types of weights as they are trained; what is quantised has another one.
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def merge_adapters(model: Module, adapters: Sequence[AdapterFiles]) -> None:
    """Add the adapters to the model's weights.

    Raises:
        LoadError: if one does not fit the model, or holds what is no number.
    """
    begun = time.monotonic()
    modules = dict(model.named_modules())
    for one in adapters:
        for name, factors in one.factors.items():
            _check_fit(one, name, factors, modules.get(name))
    targets = sorted({name for one in adapters for name in one.factors})
    with opened(adapters) as files, torch.no_grad():
        for one, tensors in files:
            _check_copies(one, tensors, modules)
        for name in targets:
            mine = [pair for pair in files if name in pair[0].factors]
            _add(name, modules[name], mine)
    log.info(
        "adapters merged",
        extra={
            "adapters": {one.adapter.name: one.adapter.strength for one in adapters},
            "modules": len(targets),
            "seconds": round(time.monotonic() - begun, 1),
        },
    )


@contextlib.contextmanager
def opened(adapters: Sequence[AdapterFiles]) -> Iterator[list[Opened]]:
    """Open the adapters' tensors while the block runs."""
    with contextlib.ExitStack() as stack:
        yield [
            (one, stack.enter_context(safe_open(one.weights, framework="pt")))
            for one in adapters
        ]


def _check_fit(
    one: AdapterFiles, name: str, factors: Factors, module: Module | None
) -> None:
    trained = f"; it was trained on {one.config.base_model!r}"
    made_for = "the adapter is another model's" + trained * bool(one.config.base_model)
    if module is None:
        raise one.error(f"{name}: the base model has no such module; {made_for}")
    takes_embedding = isinstance(module, torch.nn.Embedding)
    known = isinstance(module, torch.nn.Linear | torch.nn.Embedding | Conv1D)
    if not known or takes_embedding != factors.embedding:
        raise one.error(
            f"{name}: found factors of {_kind(factors)}, the base model has a "
            f"{type(module).__name__} there"
        )
    weight = module.weight
    if weight.dtype not in DTYPES:
        raise one.error(
            f"{name}: the base model's weights are quantised ({weight.dtype}), and "
            "a sum with them would not be exact; serve the model unquantised"
        )
    if weight.device.type == "meta":
        raise one.error(
            f"{name}: the base model's weights are not in memory, which is too small"
        )
    outputs, inputs = weight.T.shape if _lies_transposed(module) else weight.shape
    rank = one.config.rank_of(name)
    for key, found, right in (
        ("lora_A", factors.a_shape, (rank, inputs)),
        ("lora_B", factors.b_shape, (outputs, rank)),
    ):
        if found != right:
            raise one.error(
                f"{name}: {key} has the shape {list(found)}, the base model needs "
                f"{list(right)} for rank {rank}; {made_for}"
            )


def _kind(factors: Factors) -> str:
    return "an embedding" if factors.embedding else "a linear layer"


def _lies_transposed(module: Module) -> bool:
    """Whether the weights have a row per input, and not one per output."""
    return isinstance(module, torch.nn.Embedding | Conv1D)


def _check_copies(
    one: AdapterFiles, tensors: Any, modules: Mapping[str, Module]
) -> None:
    """Refuse weights that came along and are not the base model's own."""
    for name, key in one.copies.items():
        weight = getattr(modules.get(name), "weight", None)
        copy = tensors.get_tensor(key)
        if weight is None or copy.shape != weight.shape:
            raise one.error(f"{key}: the base model has no weights of this shape")
        if not torch.equal(copy.to(weight.device, weight.dtype), weight):
            raise one.error(
                f"{key}: found weights of its own for {name}, which would take the "
                "place of the base model's; only plain LoRA can be merged"
            )


def _add(name: str, module: Module, adapters: Sequence[Opened]) -> None:
    """Add the adapters of one module to its weights."""
    weight = module.weight
    # Added up in place: a large vocabulary takes gigabytes.
    total = torch.zeros_like(
        weight, dtype=torch.promote_types(weight.dtype, torch.float32)
    )
    for one, tensors in adapters:
        factors = one.factors[name]
        left = factor(one, tensors, factors.b).to(total)
        right = factor(one, tensors, factors.a).to(total)
        if _lies_transposed(module):
            left, right = right.T, left.T
        total.addmm_(left, right, alpha=one.share_of(name))
    merged = total.add_(weight).to(weight.dtype)
    if not torch.isfinite(merged).all():
        names = ", ".join(repr(one.adapter.name) for one, _ in adapters)
        raise LoadError(
            f"adapter {names}: {name}: the sum with the base model's weights has "
            f"values beyond {weight.dtype}"
        )
    # A parameter of its own: an output layer that shares an embedding's weights
    # does not get what was trained for the embedding, nor the other way round.
    module.weight = torch.nn.Parameter(merged, requires_grad=False)


def factor(one: AdapterFiles, tensors: Any, key: str) -> Tensor:
    """Read a factor of an adapter, in float32.

    Raises:
        LoadError: if it holds what is no number.
    """
    tensor = tensors.get_tensor(key).float()
    if not torch.isfinite(tensor).all():
        raise one.error(f"{key}: holds values that are no numbers")
    return tensor
