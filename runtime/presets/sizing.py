"""A model on one node: what it takes there, and what to say of it.

Each node serves a whole copy: the transformers runtime deals the layers of a model
to the GPUs of one node, vLLM a part of each layer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pykaito.runtime.presets.breakdown import MemoryBreakdown
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.estimate import (
    DEFAULT_CONTEXT,
    DoesNotFitError,
    Estimate,
    estimate,
    tensor_width,
)
from pykaito.runtime.presets.gpu import GIB, GpuFacts
from pykaito.runtime.presets.memory import KvDtype, Split
from pykaito.runtime.presets.partition import Part, slices
from pykaito.runtime.presets.runtimes import Runtime

#: What a node is taken for when nothing is known of it.
ASSUMED = GpuFacts("assumed", count=8, memory_mib=80 * 1024)

#: Where a config asks for a context.
CONTEXT_FIELD = "inference.config: vllm.max-model-len"


class TooLargeError(Exception):
    """The weights exceed a node's memory; the message says what would do."""

    def __init__(self, field: str, message: str) -> None:
        #: What the user wrote that would have to change.
        self.field = field
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Demand:
    """What has to fit."""

    preset: Preset
    runtime: Runtime
    #: How many LoRA adapters are loaded with it.
    adapters: int = 0
    #: Tokens that a sequence may have; None for as many as fit.
    context: int | None = None
    kv_dtype: KvDtype = "auto"

    @property
    def split(self) -> Split:
        """How the GPUs of a node share the model."""
        return Split.TENSOR if self.runtime == "vllm" else Split.LAYERS

    def gpus_of(self, count: int) -> int:
        """Return how many of so many GPUs can share the model."""
        if self.split is Split.LAYERS:
            return count
        return tensor_width(self.preset, count)

    @property
    def least_context(self) -> int:
        """Tokens below which the fit is a tight one."""
        return min(self.context or DEFAULT_CONTEXT, self.preset.context_length)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that is asked for."""
        return self.context or self.preset.context_length

    def __str__(self) -> str:
        with_adapters = f" with {self.adapters} adapters" if self.adapters else ""
        return f"{self.preset.name}{with_adapters}"


@dataclass(frozen=True, slots=True)
class Size:
    """What a replica takes of its node."""

    #: As Kubernetes quantities.
    resources: Mapping[str, str]
    #: Tokens that prompt and answer can share there.
    context_length: int
    #: What is legal and likely not meant, as sentences for people.
    warnings: tuple[str, ...] = ()
    memory: MemoryBreakdown | None = None


def on_gpus(
    demand: Demand, part: Part, *, offers: Iterable[GpuFacts], unchecked: bool
) -> Size:
    """Return what a replica takes of a node's GPUs.

    Args:
        demand: the model.
        part: the node's GPUs, or those that may be used of them.
        offers: nodes to propose where it does not fit, smallest first.
        unchecked: take all GPUs where it does not fit, on the user's word.

    Raises:
        TooLargeError: the weights do not fit and are not unchecked.
    """
    if part.gpu is None:
        return _on_unknown(demand, part)
    try:
        found = _on_node(demand, part.gpu, part.gpus)
    except DoesNotFitError as error:
        needed = (
            f"the weights of {demand} take {error.needed / GIB:.1f} GiB of GPU "
            f"memory, {part} has {error.found / GIB:.1f} GiB"
        )
        if unchecked:
            gpus = part.gpus or 2 ** (part.gpu.count.bit_length() - 1)
            resources = {part.resource: str(demand.gpus_of(gpus))}
            return Size(resources, demand.longest, (f"{needed}; tried anyway",))
        remedy = "; ".join(_remedies(demand, part, part.gpu, offers))
        raise TooLargeError(part.field, f"{needed}; {remedy}") from None
    return Size(
        {part.resource: str(found.gpus)},
        found.context_length,
        tuple(_describe(demand, part, found)),
        MemoryBreakdown(
            of="GPU",
            shares=found.gpus,
            weights=found.weights,
            cache=found.cache,
            reserve=found.reserve,
            capacity=part.gpu.memory,
        ),
    )


def usual_gpus(preset: Preset, *, adapters: int = 0) -> int:
    """Return how many GPUs to ask a node for of which nothing is known."""
    try:
        return preset.gpus or estimate(preset, ASSUMED, adapters=adapters).gpus
    except DoesNotFitError:
        return ASSUMED.count


def _on_unknown(demand: Demand, part: Part) -> Size:
    gpus = part.gpus or usual_gpus(demand.preset, adapters=demand.adapters)
    return Size({part.resource: str(demand.gpus_of(gpus))}, demand.longest)


def _on_node(demand: Demand, gpu: GpuFacts, gpus: int | None = None) -> Estimate:
    return estimate(
        demand.preset,
        gpu,
        context=demand.context,
        limit=demand.context,
        kv_dtype=demand.kv_dtype,
        adapters=demand.adapters,
        split=demand.split,
        gpus=demand.gpus_of(gpus) if gpus else None,
        max_nodes=1,
    )


def _holds(demand: Demand, gpu: GpuFacts) -> bool:
    """Whether a node holds the model with room to spare."""
    try:
        return not _on_node(demand, gpu).tight
    except DoesNotFitError:
        return False


def _remedies(
    demand: Demand, part: Part, gpu: GpuFacts, offers: Iterable[GpuFacts]
) -> Iterator[str]:
    if part.is_slice:
        if fitting := next((s for s in slices() if _holds(demand, s)), None):
            yield f"the smallest slice that holds it is {fitting.name}"
        else:
            yield "no slice holds it; use whole GPUs"
        return
    if part.gpus and _holds(demand, gpu):
        yield f"{_on_node(demand, gpu).gpus} of them hold it"
        return
    if part.gpus is None and (nodes := _nodes_together(demand, gpu)):
        yield (
            f"{nodes} such nodes together would hold it, but the runtime "
            f"{demand.runtime!r} puts a whole copy on each of resource.count nodes"
        )
    yield _offer(demand, offers)


def _nodes_together(demand: Demand, gpu: GpuFacts) -> int | None:
    """Return how many nodes hold the model where they share it; None if none do."""
    try:
        return estimate(demand.preset, gpu, adapters=demand.adapters).nodes
    except DoesNotFitError:
        return None


def _offer(demand: Demand, offers: Iterable[GpuFacts]) -> str:
    for offer in offers:
        if _holds(demand, offer):
            return (
                f"the smallest instance type known to hold it is {offer.name} with "
                f"{offer.count} x {offer.memory / GIB:.1f} GiB"
            )
    return "no instance type known holds it on one node; name a smaller model"


def _describe(demand: Demand, part: Part, found: Estimate) -> Iterator[str]:
    preset = demand.preset
    if part.gpus and found.gpus < part.gpus:
        yield (
            f"{part.field}: found {part.gpus}; {found.gpus} of them are used, since "
            f"{preset.name} cannot be dealt to {part.gpus} GPUs evenly"
        )
    if demand.context and found.context_length < demand.context:
        yield (
            f"{CONTEXT_FIELD}: found {demand.context}; {found.context_length} tokens "
            f"fit {part}, and so many are served"
        )
    elif found.tight:
        yield (
            f"{preset.name} barely fits {part}: its weights take "
            f"{found.weights / GIB:.1f} GiB of each GPU, which leaves room for "
            f"{found.context_length} tokens; use GPUs with more memory"
        )
    elif found.context_length < demand.longest:
        yield (
            f"prompt and answer can have {found.context_length} of the "
            f"{preset.context_length} tokens that {preset.name} was made for: "
            f"{found.gpus} of {part} hold no more"
        )
