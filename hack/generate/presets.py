"""The tables of docs/presets*.md: every preset, and what it takes of which nodes."""

from functools import cache

from hack.generate import kaito
from hack.generate.markdown import table
from pykaito.provisioners.skus import find_sku, skus
from pykaito.reconcilers.gpu_facts import facts_of_sku
from pykaito.runtime.presets.catalogue import Preset, catalogue
from pykaito.runtime.presets.estimate import DoesNotFitError, estimate
from pykaito.runtime.presets.gpu import GpuFacts
from pykaito.runtime.presets.vllm_flags import vllm_flags

#: The oldest GPU of the quick starts, and the ones that there are figures for.
V100 = "Standard_NC6s_v3"


@cache
def tables() -> dict[str, str]:
    """Return the tables by their titles."""
    return {
        "presets": _presets_table(),
        "preset sizes": _sizes_table(),
        "node counts that differ": _differences_table(),
        "sizes on every instance type": _all_sizes(),
        "flags of vLLM": _flags_table(),
        "instance types": _skus_table(),
    }


def _presets_table() -> str:
    head = (
        *("Preset", "Hub", "Licence", "Weights, GiB", "Stored as", "Context"),
        *("Cache of a token, bytes", "transformers", "Tuning", "Commit"),
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
        preset.revision[:7],
    )


def _sizes_table() -> str:
    columns = [V100, *kaito.facts()["columns"]]
    head = ("Preset", *(_short(column) for column in columns))
    return table(
        head,
        [
            (preset.name, *(_size(preset, column) for column in columns))
            for preset in catalogue().values()
        ],
    )


def _size(preset: Preset, sku: str) -> str:
    ours = _size_on(preset, facts_of_sku(find_sku(sku)))
    if preset.name not in kaito.facts()["nodes"] or sku == V100:
        return ours
    return f"{ours} [{kaito.published(preset, sku)}]"


def _size_on(preset: Preset, gpu: GpuFacts) -> str:
    try:
        found = estimate(preset, gpu)
    except DoesNotFitError:
        return "too large"
    tight = " (tight)" if found.tight else ""
    return f"{found.nodes} x {found.gpus}, {found.context_length}{tight}"


def _differences_table() -> str:
    head = ("Preset", "Nodes of", "KAITO", "weights once", "less set aside: ours")
    rows = [
        (step.preset, _short(step.instance_type), *map(str, step[2:]))
        for step in kaito.differences()
    ]
    return table(head, rows)


def _all_sizes() -> str:
    """Return a table for each amount of memory that GPUs have."""
    machines: dict[int, dict[int, GpuFacts]] = {}
    models: dict[int, set[str]] = {}
    for sku in skus().values():
        if sku.gpu.vendor == "nvidia":
            memory = sku.gpu.memory_mib
            machines.setdefault(memory, {})[sku.count] = facts_of_sku(sku)
            models.setdefault(memory, set()).add(sku.model)
    text = ""
    for memory, by_count in sorted(machines.items()):
        named = ", ".join(sorted(models[memory]))
        head = ("Preset", *(f"{count} on a node" for count in sorted(by_count)))
        rows = [
            (preset.name, *(_size_on(preset, by_count[n]) for n in sorted(by_count)))
            for preset in catalogue().values()
        ]
        text += f"\n### {named}: {memory} MiB\n\n{table(head, rows)}"
    return f"{text}\n"


def _flags_table() -> str:
    rows = [
        (
            preset.name,
            preset.architecture,
            " ".join(
                f"`{name}`" if value is None else f"`{name}={value}`"
                for name, value in vllm_flags(preset).items()
            ),
        )
        for preset in catalogue().values()
    ]
    return table(("Preset", "Architecture", "Flags"), rows)


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
