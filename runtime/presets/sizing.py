"""A model on the GPUs of one node: how many it takes, and what to say of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from pykaito.runtime.presets.breakdown import MemoryBreakdown
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.estimate import DoesNotFitError, Estimate, estimate
from pykaito.runtime.presets.gpu import GIB, GpuFacts
from pykaito.runtime.presets.memory import Split

#: What a node is taken for when nothing is known of it.
ASSUMED = GpuFacts("assumed", count=8, memory_mib=80 * 1024)


class TooLargeError(Exception):
    """The weights exceed a node's memory; the message says what would do."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a replica takes of its node."""

    gpus: int
    #: Tokens that prompt and answer can share there.
    context_length: int
    #: What is legal and likely not meant, as sentences for people.
    warnings: tuple[str, ...] = ()
    memory: MemoryBreakdown | None = None


def on_known(
    preset: Preset,
    gpu: GpuFacts,
    *,
    adapters: int,
    offers: Iterable[GpuFacts],
    unchecked: bool,
) -> Size:
    """Return what a replica takes of a node whose GPUs are known.

    Args:
        preset: the model.
        gpu: the node's GPUs.
        adapters: how many LoRA adapters are loaded with it.
        offers: nodes to propose where it does not fit, smallest first.
        unchecked: take all GPUs where it does not fit, on the user's word.

    Raises:
        TooLargeError: the weights do not fit and are not unchecked.
    """
    try:
        found = _on_node(preset, gpu, adapters)
    except DoesNotFitError as error:
        needed = (
            f"the weights of {preset.name} take {error.needed / GIB:.1f} GiB of GPU "
            f"memory, a node has {gpu}"
        )
        if unchecked:
            gpus = 2 ** (gpu.count.bit_length() - 1)
            return Size(gpus, preset.context_length, (f"{needed}; tried anyway",))
        remedy = _remedy(preset, adapters, offers)
        raise TooLargeError(f"{needed}; {remedy}") from None
    return Size(
        found.gpus,
        found.context_length,
        tuple(_describe(preset, gpu, found)),
        MemoryBreakdown(
            of="GPU",
            shares=found.gpus,
            weights=found.weights,
            cache=found.cache,
            reserve=found.reserve,
            capacity=gpu.memory,
        ),
    )


def on_unknown(preset: Preset, *, adapters: int) -> Size:
    """Return what a replica takes of a node of which nothing is known."""
    gpus = preset.gpus or estimate(preset, ASSUMED, adapters=adapters).gpus
    return Size(gpus, preset.context_length)


def _on_node(preset: Preset, gpu: GpuFacts, adapters: int) -> Estimate:
    # The transformers runtime deals layers to the GPUs of one node.
    return estimate(preset, gpu, adapters=adapters, split=Split.LAYERS, max_nodes=1)


def _remedy(preset: Preset, adapters: int, offers: Iterable[GpuFacts]) -> str:
    for offer in offers:
        try:
            found = _on_node(preset, offer, adapters)
        except DoesNotFitError:
            continue
        if not found.tight:
            return (
                f"the smallest instance type known to hold it is {offer.name} with "
                f"{offer.count} x {offer.memory / GIB:.1f} GiB"
            )
    return "no instance type known holds it on one node; name a smaller model"


def _describe(preset: Preset, gpu: GpuFacts, found: Estimate) -> Iterable[str]:
    if found.tight:
        yield (
            f"{preset.name} barely fits {gpu}: its weights take "
            f"{found.weights / GIB:.1f} GiB of each GPU, which leaves room for "
            f"{found.context_length} tokens; use GPUs with more memory"
        )
    elif found.context_length < preset.context_length:
        yield (
            f"prompt and answer can have {found.context_length} of the "
            f"{preset.context_length} tokens that {preset.name} was made for: "
            f"{found.gpus} of {gpu} hold no more"
        )
