"""Adapters as peft saves them, made by hand: small, and wrong where wanted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.lora_files import CONFIG, PREFIX, WEIGHTS

#: Configuration of an adapter that adds twice the product of its factors.
PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}

Pair = tuple[torch.Tensor, torch.Tensor]


def factors(
    inputs: int, outputs: int, *, rank: int = 4, seed: int = 0, scale: float = 0.1
) -> Pair:
    """Make a random A and B of a linear layer."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, inputs, generator=generator) * scale
    b = torch.randn(outputs, rank, generator=generator) * scale
    return a, b


def write_adapter(
    folder: Path,
    modules: Mapping[str, Pair],
    *,
    strength: float = 1.0,
    extra: Mapping[str, torch.Tensor] | None = None,
    **config: Any,
) -> Adapter:
    """Write an adapter of linear layers; ``extra`` are tensors by their full name."""
    tensors = {}
    for name, (a, b) in modules.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = a.contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = b.contiguous()
    folder.mkdir(parents=True)
    save_file(tensors | dict(extra or {}), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(PLAIN | config))
    return Adapter(folder.name, strength, folder)
