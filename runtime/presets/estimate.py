"""How many GPUs a model needs, and the context that then fits: pure functions."""

from dataclasses import dataclass

from pykaito.runtime.presets import memory
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.gpu import GIB, GpuFacts
from pykaito.runtime.presets.memory import KvDtype, Model, Sharing, Split

#: Tokens to make room for when nobody says how many; the original's default.
DEFAULT_CONTEXT = 2048
#: Where fewer tokens than these fit, the reserve gives way to them.
LEAST_CONTEXT = 128
#: Nodes that one replica may take.
MAX_NODES = 64


class DoesNotFitError(Exception):
    """Weights and a first block of the cache exceed the memory of all GPUs."""

    def __init__(self, needed: int, found: int) -> None:
        #: Bytes that the weights take.
        self.needed = needed
        #: Bytes of all GPUs together.
        self.found = found
        super().__init__(
            f"the weights take {needed / GIB:.1f} GiB, all GPUs together have "
            f"{found / GIB:.1f} GiB"
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """GPUs of a replica and what is on each of them, in bytes."""

    #: GPUs on each node.
    gpus: int
    #: Nodes of one replica.
    nodes: int
    #: Tokens of the longest sequence that fits.
    context_length: int
    #: Whether fewer tokens fit than were asked for, or the reserve gave way.
    tight: bool
    weights: int
    cache: int
    #: Left for activations and workspaces.
    reserve: int

    @property
    def total(self) -> int:
        """What is used of each GPU."""
        return self.weights + self.cache + self.reserve


def estimate(
    preset: Preset,
    gpu: GpuFacts,
    *,
    context: int | None = None,
    limit: int | None = None,
    kv_dtype: KvDtype = "auto",
    adapters: int = 0,
    split: Split = Split.TENSOR,
    gpus: int | None = None,
    max_nodes: int = MAX_NODES,
) -> Estimate:
    """Return the fewest GPUs that hold the model and a context.

    Args:
        preset: the model.
        gpu: the GPUs of each node.
        context: tokens to make room for; 2048 when not given, and never more
            than the model was made for.
        limit: tokens that a sequence may have, where fewer than the model was
            made for; a context that fits is cut to it.
        kv_dtype: fp8 halves the cache.
        adapters: how many LoRA adapters are loaded with it.
        split: how the GPUs of a node share it.
        gpus: how many of each node to use, whatever is needed.
        max_nodes: how many nodes may share it.

    Raises:
        DoesNotFitError: the weights alone exceed the memory. A context that
            does not fit is no error: all GPUs are taken, and the estimate says
            what fits and that it is tight.
    """
    model = memory.model_of(preset, kv_dtype=kv_dtype, adapters=adapters, limit=limit)
    asked = min(context or DEFAULT_CONTEXT, model.context_length)
    widths = [gpus] if gpus else _widths(preset, gpu, split)
    sharings = [
        *(Sharing(width, 1, split) for width in widths),
        *(Sharing(widths[-1], nodes, split) for nodes in range(2, max_nodes + 1)),
    ]
    for sharing in sharings:
        found = _fit(model, gpu, sharing, asked)
        if not found.tight:
            return found
    return _squeeze(model, gpu, sharings[-1], asked)


def _widths(preset: Preset, gpu: GpuFacts, split: Split) -> list[int]:
    """Return how many GPUs of a node may share a model, from the fewest."""
    return [
        2**power
        for power in range(gpu.count.bit_length())
        if split is Split.LAYERS or _divides(preset.attention.kv_heads, 2**power)
    ]


def tensor_width(preset: Preset, gpus: int) -> int:
    """Return how many of so many GPUs tensor parallelism can use."""
    heads = preset.attention.kv_heads
    powers = (1 << power for power in range(gpus.bit_length()))
    return max(width for width in powers if _divides(heads, width))


def _divides(heads: int, gpus: int) -> bool:
    """Whether tensor parallelism can deal heads to GPUs evenly."""
    return heads % gpus == 0 or gpus % heads == 0


def _fit(model: Model, gpu: GpuFacts, sharing: Sharing, asked: int) -> Estimate:
    weights = memory.weights_on_gpu(model, sharing)
    reserve = memory.reserve_on_gpu(model, sharing)
    room = memory.usable(gpu) - weights - reserve
    tokens = memory.tokens_that_fit(model, sharing, room)
    return Estimate(
        gpus=sharing.gpus,
        nodes=sharing.nodes,
        context_length=tokens,
        tight=room < 0 or tokens < asked,
        weights=weights,
        cache=memory.cache_on_gpu(model, sharing, tokens),
        reserve=reserve,
    )


def _squeeze(model: Model, gpu: GpuFacts, sharing: Sharing, asked: int) -> Estimate:
    """Fit what can be had where the context asked for does not fit.

    Below a useful context the reserve gives way: a model server that starts and
    serves short requests is worth more than a refusal.
    """
    found = _fit(model, gpu, sharing, asked)
    least = min(LEAST_CONTEXT, asked)
    if found.context_length >= least:
        return found
    room = gpu.memory - found.weights
    tokens = min(least, memory.tokens_that_fit(model, sharing, room))
    if tokens == 0:
        gpus = sharing.gpus * sharing.nodes
        raise DoesNotFitError(model.weights, gpu.memory * gpus)
    cache = memory.cache_on_gpu(model, sharing, tokens)
    return Estimate(
        gpus=sharing.gpus,
        nodes=sharing.nodes,
        context_length=tokens,
        tight=True,
        weights=found.weights,
        cache=cache,
        reserve=room - cache,
    )
