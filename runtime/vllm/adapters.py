"""LoRA adapters as vLLM loads them, each under a model's name of its own.

A request names one of them, and is answered by W0 + strength · alpha / r · BA: vLLM
takes alpha from the adapter's configuration, so that each strength is a configuration
of its own, beside a link to the same weights. Other weights or another strength are in
another folder: vLLM takes what it computed with one folder's for all that come from it.
"""

import hashlib
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
    """Check the adapters' files and scale them to their strengths.

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
    config = json.loads((adapter.folder / CONFIG).read_text(encoding="utf-8"))
    text = json.dumps(scaled(config, adapter.strength))
    weights = (adapter.folder / WEIGHTS).resolve()
    folder = scratch / adapter.name / _version(text, weights)
    if not (folder / CONFIG).exists():
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / WEIGHTS
        link.unlink(missing_ok=True)
        link.symlink_to(weights)
        # Last and at once, so that a folder that has it is whole.
        written = folder / f"{CONFIG}.new"
        written.write_text(text, encoding="utf-8")
        written.rename(folder / CONFIG)
    return Lora(adapter.name, folder, rank)


def _version(config: str, weights: Path) -> str:
    """Return what differs where the configuration or the weights' file does."""
    file = weights.stat()
    told = f"{file.st_ino} {file.st_size} {file.st_mtime_ns} {weights} {config}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]
