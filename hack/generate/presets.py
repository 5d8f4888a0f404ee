"""The tables of docs/presets.md: every preset, and what it takes of which nodes."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hack.generate.markdown import table
from pykaito.provisioners.skus import find_sku, skus
from pykaito.reconcilers.gpu_facts import facts_of_sku
from pykaito.runtime.presets.catalogue import Preset, catalogue
from pykaito.runtime.presets.estimate import DoesNotFitError, estimate

#: The oldest GPU of the quick starts, and the ones that there are figures for.
V100 = "Standard_NC6s_v3"


def tables() -> dict[str, str]:
    """Return the tables by their titles."""
    return {
        "presets": _presets_table(),
        "preset sizes": _sizes_table(),
        "instance types": _skus_table(),
    }


@cache
def kaito() -> dict[str, Any]:
    """Return the original's node counts: its columns, and nodes by preset."""
    path = Path(__file__).with_name("kaito_nodes.yaml")
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def _presets_table() -> str:
    head = (
        *("Preset", "Hub", "Licence", "Weights, GiB", "Stored as", "Context"),
        *("Cache of a token, bytes", "transformers", "Tuning"),
    )
    return table(head, [_preset_row(preset) for preset in catalogue().values()])


def _preset_row(preset: Preset) -> tuple[str, ...]:
    gated = ", gated" if preset.gated else ""
    attention = preset.attention
    return (
        preset.name,
        preset.hub or "an image of yours",
        preset.licence + gated,
        f"{preset.weights_gib:.2f}",
        preset.quantization or "16 bits",
        str(preset.context_length),
        f"{attention.bytes_per_token} ({attention.kind.upper()})",
        "yes" if preset.transformers else "",
        "yes" if preset.tuning else "",
    )


def _sizes_table() -> str:
    columns = [V100, *kaito()["columns"]]
    head = ("Preset", *(_short(column) for column in columns))
    return table(
        head,
        [
            (preset.name, *(_size(preset, column) for column in columns))
            for preset in catalogue().values()
        ],
    )


def _size(preset: Preset, sku: str) -> str:
    try:
        found = estimate(preset, facts_of_sku(find_sku(sku)))
    except DoesNotFitError:
        return "too large"
    ours = f"{found.nodes} x {found.gpus}, {found.context_length}"
    if found.tight:
        ours += " (tight)"
    nodes = kaito()["nodes"].get(preset.name)
    if nodes is None or sku == V100:
        return ours
    return f"{ours} [{nodes[kaito()['columns'].index(sku)]}]"


def _short(sku: str) -> str:
    found = find_sku(sku)
    return f"{found.count} {found.model}"


def _skus_table() -> str:
    head = ("Instance type", "Cloud", "GPUs", "MiB each", "bfloat16", "")
    return table(
        head,
        [
            (
                f"`{sku.name}`",
                sku.cloud,
                f"{sku.count} {sku.model}",
                str(sku.gpu.memory_mib),
                "yes" if sku.gpu.bfloat16 else "",
                "retired" if sku.retired else "",
            )
            for sku in skus().values()
        ],
    )
