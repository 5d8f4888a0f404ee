"""LoRA adapters as vLLM loads them, each under a model's name of its own.

A request names one of them, and is answered by W0 + strength · alpha / r · BA: vLLM
takes alpha from the adapter's configuration, so that a strength other than 1 is a
configuration of its own, beside a link to the same weights.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.lora_files import CONFIG, WEIGHTS, read_adapter
from pykaito.runtime.hf.model_source import LoadError


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter that is ready to be loaded."""

    name: str
    folder: Path
    #: The largest inner dimension of its factors.
    rank: int


def prepare(adapters: Sequence[Adapter], scratch: Path) -> tuple[Lora, ...]:
    """Check the adapters' files and scale those that are not to count in full.

    Args:
        adapters: those that are asked for.
        scratch: a folder for what is written; made if it is needed.

    Raises:
        LoadError: an adapter's files are missing or malformed, or hold what plain
            LoRA has not, such as DoRA or whole modules.
    """
    return tuple(_prepare(adapter, scratch) for adapter in adapters)


def scaled(config: Mapping[str, Any], strength: float) -> dict[str, Any]:
    """Return an adapter's configuration whose delta is multiplied by a strength."""
    alphas = config.get("alpha_pattern") or {}
    return {
        **config,
        "lora_alpha": config.get("lora_alpha", 8) * strength,
        "alpha_pattern": {name: alpha * strength for name, alpha in alphas.items()},
    }


def smallest_rank(loras: Sequence[Lora], ranks: Sequence[int]) -> int:
    """Return the smallest of vLLM's ranks that holds all adapters.

    Raises:
        LoadError: there is none.
    """
    largest = max(loras, key=lambda lora: lora.rank)
    for rank in sorted(ranks):
        if rank >= largest.rank:
            return rank
    raise LoadError(
        f"adapter {largest.name!r}: found rank {largest.rank}, vLLM serves ranks up to "
        f"{max(ranks)}"
    )


def _prepare(adapter: Adapter, scratch: Path) -> Lora:
    found = read_adapter(adapter)
    rank = max([found.config.rank, *found.config.rank_pattern.values()])
    if adapter.strength == 1:
        return Lora(adapter.name, adapter.folder, rank)
    folder = scratch / adapter.name
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((adapter.folder / CONFIG).read_text(encoding="utf-8"))
    text = json.dumps(scaled(config, adapter.strength))
    (folder / CONFIG).write_text(text, encoding="utf-8")
    link = folder / WEIGHTS
    link.unlink(missing_ok=True)
    link.symlink_to((adapter.folder / WEIGHTS).resolve())
    return Lora(adapter.name, folder, rank)
