"""One adapter instead of all that are merged, for the tokens that ask for it.

The weights are those of all adapters together. For a token that is to be read
with adapter k alone, the others' part is taken out of a module's output again:

    y = x · Wᵀ - Σ strength · scaling · (x · Aᵀ) · Bᵀ    over the adapters other than k

The factors of all adapters of a module lie side by side, so that this is one
product of a low rank, whatever adapters the tokens of a step ask for; where k
itself stands, the middle is zero. It is taken in float32 and added before the
output is rounded to its type. A step that asks for no adapter does without.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from pykaito.runtime.hf.adapter_choice import CHOSEN, Choice, Chosen
from pykaito.runtime.hf.lora_files import AdapterFiles
from pykaito.runtime.hf.lora_merge import Opened, factor, opened
from pykaito.runtime.hf.packed_weights import PackedLinear

log = logging.getLogger(__name__)

Tensor = Any  # torch publishes no types that strict mode can read
Module = Any

#: Ways to compute an output that are known to be input times weights.
PLAIN = (
    torch.nn.Linear.forward,
    PackedLinear.forward,
    torch.nn.Embedding.forward,
    Conv1D.forward,
)
#: How far another way may be from that, as a share: rounding of bfloat16.
TOLERANCE = 0.02


def correct_by_choice(
    model: Module, adapters: Sequence[AdapterFiles]
) -> dict[str, Choice]:
    """Let tokens be read with one of the adapters that are merged in a model.

    Args:
        model: Its weights have all of them.
        adapters: The same that were merged.

    Returns:
        What each adapter's name stands for: None where the others are of no
        strength, so that it is the merged model itself. Nothing if they cannot be
        told apart: a module makes of its weights more than a product.
    """
    strong = [
        place
        for place, one in enumerate(adapters)
        if any(one.share_of(name) for name in one.factors)
    ]
    choices = {
        one.adapter.name: place if set(strong) - {place} else None
        for place, one in enumerate(adapters)
    }
    if all(choice is None for choice in choices.values()):
        return choices
    names = sorted({name for place in strong for name in adapters[place].factors})
    modules = {name: model.get_submodule(name) for name in names}
    scales: dict[str, float] = {}
    for name, module in modules.items():
        scale = _scale(module)
        if scale is None:
            kind = type(module).__name__
            reason = f"{name}: a {kind} makes more of its weights than a product"
            log.warning(
                "no adapter can be asked for by its name", extra={"reason": reason}
            )
            return {}
        scales[name] = scale
    with opened([adapters[place] for place in strong]) as files:
        for name, module in modules.items():
            mine = {
                place: pair
                for place, pair in zip(strong, files, strict=True)
                if name in pair[0].factors and pair[0].share_of(name)
            }
            if mine:
                # A hook would cost each step some percent, even with nothing to do.
                module.forward = _Correction(name, module, mine, scales[name])
    return choices


def _scale(module: Module) -> float | None:
    """Return how often its input times its weights a module gives; None: it differs."""
    if type(module).forward in PLAIN:
        return 1.0
    weight, bias = module.weight, getattr(module, "bias", None)
    # Gemma's embeddings have one.
    scale = float(torch.as_tensor(getattr(module, "embed_scale", 1.0)).to(weight.dtype))
    if isinstance(module, torch.nn.Embedding):
        inputs = torch.arange(2, device=weight.device)[None]
        expected = weight[inputs] * scale
    else:
        width = weight.shape[1]
        inputs = torch.linspace(-1, 1, width).to(weight)[None, None]
        expected = inputs @ weight.T + (0 if bias is None else bias)
    try:
        with torch.no_grad():
            error = (module(inputs) - expected).norm()
    except Exception:  # noqa: BLE001 - a model's own code may raise anything
        return None
    return scale if error <= TOLERANCE * expected.norm() else None


class _Correction:
    """A module's forward, less what others than the chosen adapter added to it.

    Args:
        name: The module's.
        module: It has the adapters in its weights.
        adapters: Those that it has, by their place among all.
        scale: What its output is multiplied by.
    """

    def __init__(
        self, name: str, module: Module, adapters: dict[int, Opened], scale: float
    ) -> None:
        self._forward = module.forward
        dtype = torch.promote_types(module.weight.dtype, torch.float32)
        self._device = module.weight.device
        self._embeds = isinstance(module, torch.nn.Embedding)
        inner: list[Tensor] = []
        outer: list[Tensor] = []
        owners: list[int] = []
        for place, (one, tensors) in adapters.items():
            pair = one.factors[name]
            a = factor(one, tensors, pair.a).to(self._device, dtype)
            b = factor(one, tensors, pair.b).to(self._device, dtype)
            inner.append(a)
            outer.append(b.T * -scale * one.share_of(name))
            owners += [place] * len(a)
        #: To the ranks of all adapters, and from there to the output.
        self._inner = torch.cat(inner).T.contiguous()
        self._outer = torch.cat(outer)
        self._owners = torch.tensor(owners, device=self._device)

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        """Return the output for the tokens' choices."""
        output = self._forward(*inputs, **options)
        chosen = CHOSEN.get()
        return output if chosen is None else self._correct(chosen, inputs[0], output)

    def _correct(self, chosen: Chosen, inputs: Tensor, output: Tensor) -> Tensor:
        found = output.reshape(-1, output.shape[-1])
        rows = chosen.rows(len(found), self._device)
        if rows is None:
            return output
        middle = self._middle(inputs, rows.indices)
        middle.masked_fill_(rows.adapters == self._owners, 0)
        which = slice(None) if rows.indices is None else rows.indices
        before = found[which].to(middle.dtype)
        found[which] = torch.addmm(before, middle, self._outer).to(found.dtype)
        return found.reshape(output.shape)

    def _middle(self, inputs: Tensor, indices: Tensor | None) -> Tensor:
        """Return the inputs of some rows in the ranks of all adapters."""
        rows = inputs.reshape(-1) if self._embeds else inputs.flatten(0, -2)
        # Layers on several GPUs: what came before may be on another one.
        rows = rows.to(self._device)
        if indices is not None:
            rows = rows[indices]
        if self._embeds:
            return self._inner[rows]
        return rows.to(self._inner.dtype) @ self._inner
