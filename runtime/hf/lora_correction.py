"""One adapter instead of all that are merged, for the tokens that ask for it.

The weights are those of all adapters together. For a token that is to be read
with adapter k alone, the others' part is taken out of a module's output again:

    y = x · Wᵀ - Σ strength · scaling · (x · Aᵀ) · Bᵀ    over the adapters other than k

The factors of all adapters of a module lie side by side, so that this is one
product of a low rank, whatever adapters the tokens of a step ask for; where k
itself stands, the middle is zero. It is taken in float32 and added before the
output is rounded to its type. A step that asks for no adapter does without.
"""

from collections.abc import Sequence
from typing import Any

import torch

from pykaito.runtime.hf.adapter_choice import CHOSEN, Choice
from pykaito.runtime.hf.lora_files import AdapterFiles
from pykaito.runtime.hf.lora_merge import Opened, factor, opened

Tensor = Any  # torch publishes no types that strict mode can read
Module = Any


def correct_by_choice(
    model: Module, adapters: Sequence[AdapterFiles]
) -> dict[str, Choice]:
    """Let tokens be read with one of the adapters that are merged in a model.

    Args:
        model: Its weights have all of them.
        adapters: The same that were merged.

    Returns:
        What each adapter's name stands for: None where the others are of no
        strength, so that it is the merged model itself.
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
    if any(choice is not None for choice in choices.values()):
        with opened([adapters[place] for place in strong]) as files:
            _install(model, dict(zip(strong, files, strict=True)))
    return choices


def _install(model: Module, adapters: dict[int, Opened]) -> None:
    """Correct every module that an adapter has changed."""
    names = {name for one, _ in adapters.values() for name in one.factors}
    for name in sorted(names):
        mine = {
            place: (one, tensors)
            for place, (one, tensors) in adapters.items()
            if name in one.factors and one.share_of(name)
        }
        if mine:
            module = model.get_submodule(name)
            module.register_forward_hook(_Correction(name, module, mine))


class _Correction:
    """Takes out of one module's output what others than the chosen adapter added.

    Args:
        name: The module's.
        module: It has the adapters in its weights.
        adapters: Those that it has, by their place among all.
    """

    def __init__(self, name: str, module: Module, adapters: dict[int, Opened]) -> None:
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
            outer.append(b.T * -one.share_of(name))
            owners += [place] * len(a)
        #: To the ranks of all adapters, and from there to the output.
        self._inner = torch.cat(inner).T.contiguous()
        self._outer = torch.cat(outer)
        self._owners = torch.tensor(owners, device=self._device)

    def __call__(self, module: Module, inputs: tuple[Any, ...], output: Tensor) -> Any:
        """Return the output corrected; see `torch.nn.Module.register_forward_hook`."""
        del module
        chosen = CHOSEN.get()
        if chosen is None:
            return None
        found = output.reshape(-1, output.shape[-1])
        rows = chosen.rows(len(found), self._device)
        if rows is None:
            return None
        middle = self._middle(inputs[0], rows.indices)
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
