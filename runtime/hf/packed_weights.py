"""Weights in the order that a CPU's kernels read them in.

For each product of bfloat16, oneDNN lays the weights out anew, unless they lie as
its kernels want them already. With few tokens in a step, most of the time goes there.
The numbers are the same, and so is the memory, which is the process's own then and no
longer that of the weights' file.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import torch

log = logging.getLogger(__name__)

Tensor = Any  # torch publishes no types that strict mode can read
Module = Any

#: Rows of the products that the order is best for; it serves all.
TYPICAL_ROWS = 32
#: How far the scores may be from those before, as a share: they are mostly equal.
TOLERANCE = 0.01


class PackedLinear(torch.nn.Linear):  # type: ignore[misc]  # torch publishes none
    """A linear layer whose weights lie as oneDNN reads them."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch names it
        """Return the product, and the bias added."""
        return torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - torch.compile's own, and no other does it
            input, self.weight, self.bias, "none", [], ""
        )


def pack(model: Module) -> int:
    """Lay out the weights of a model's linear layers.

    A model that then fails, or has other scores, gets its weights back.

    Args:
        model: One that is loaded and does not change any more.

    Returns:
        How many layers have theirs so.
    """
    mkldnn = torch.backends.mkldnn.is_available()
    if not mkldnn or not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001 - see above
        return 0  # Its products are not oneDNN's.
    layers = list(_packable(model))
    if not layers:
        return 0
    try:
        reason = _try(model, layers)
    except Exception as error:  # noqa: BLE001 - a model's own code may raise anything
        reason = f"it fails with them: {error}"
    if reason:
        for layer in layers:
            _unpack(layer)
        log.info("weights stay as they were loaded", extra={"reason": reason})
        return 0
    log.info("weights are laid out for this CPU", extra={"layers": len(layers)})
    return len(layers)


def _try(model: Module, layers: Iterable[Module]) -> str:
    """Lay out the weights, and return why the model is not to have them so."""
    expected = _scores(model)
    for layer in layers:
        _pack(layer)
    error = (_scores(model) - expected).norm() / expected.norm()
    return "" if error <= TOLERANCE else f"its scores would differ by {error:.2g}"


def _packable(model: Module) -> Iterator[Module]:
    """Yield linear layers on the CPU that have their weights for themselves."""
    modules = list(model.modules())
    # Of tied weights there would be two copies.
    owners = Counter(
        id(weight) for one in modules for weight in one.parameters(recurse=False)
    )
    for module in modules:
        if type(module) is not torch.nn.Linear:
            continue
        weight = module.weight
        plain = weight.device.type == "cpu" and weight.dtype is torch.bfloat16
        if plain and owners[id(weight)] == 1:
            yield module


def _pack(layer: Module) -> None:
    packed = torch.ops.mkldnn._reorder_linear_weight(  # noqa: SLF001 - see above
        layer.weight.detach(), TYPICAL_ROWS
    )
    layer.weight = torch.nn.Parameter(packed, requires_grad=False)
    layer.__class__ = PackedLinear


def _unpack(layer: Module) -> None:
    if type(layer) is not PackedLinear:
        return
    layer.weight = torch.nn.Parameter(layer.weight.to_dense(), requires_grad=False)
    layer.__class__ = torch.nn.Linear


def _scores(model: Module) -> Tensor:
    prompt = torch.zeros((1, 2), dtype=torch.long, device=model.device)
    with torch.no_grad():
        return model(input_ids=prompt, use_cache=False).logits.float()
