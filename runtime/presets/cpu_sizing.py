"""A model on the CPUs of one node: how much memory it takes, and what to say of it."""

from collections.abc import Iterator

from pykaito.api.quantity import format_cores, format_memory
from pykaito.runtime.presets import memory
from pykaito.runtime.presets.breakdown import MemoryBreakdown
from pykaito.runtime.presets.cpu import CpuFacts
from pykaito.runtime.presets.estimate import DEFAULT_CONTEXT
from pykaito.runtime.presets.gpu import GIB
from pykaito.runtime.presets.memory import Model
from pykaito.runtime.presets.sizing import (
    CONTEXT_FIELD,
    Demand,
    Size,
    TooLargeError,
)

#: Tokens to make room for at most, unless a config asks for more: a node's memory
#: is not the model's alone, as a GPU's is, and a CPU reads long prompts for minutes.
LONGEST_CONTEXT = 8192
#: CPUs to ask for where nothing is known of the node.
ASSUMED_MILLICORES = 1000


def on_cpu(demand: Demand, cpu: CpuFacts | None, *, unchecked: bool) -> Size:
    """Return what a replica takes of a node whose CPUs compute.

    Half of its CPUs are requested: they are no limit, and what others do not use
    is used too.

    Args:
        demand: the model.
        cpu: the node; None when nothing is known of it, which makes room for the
            default context.
        unchecked: take all memory where it does not fit, on the user's word.

    Raises:
        TooLargeError: weights, server and a first unit of the cache do not fit and are
            not unchecked.
    """
    usual = DEFAULT_CONTEXT if cpu is None else LONGEST_CONTEXT
    longest = demand.context or min(usual, demand.preset.context_length)
    # Formats of few bits are computed by kernels of GPUs; without, transformers
    # unpacks the weights when it loads them.
    model = memory.model_of(
        demand.preset,
        kv_dtype=demand.kv_dtype,
        adapters=demand.adapters,
        limit=longest,
        unpacked=True,
        server=memory.VLLM_SERVER if demand.runtime == "vllm" else memory.SERVER,
        in_units=demand.runtime == "transformers",
    )
    tokens = longest
    if cpu is not None:
        tokens = memory.tokens_that_fit_ram(model, cpu.usable - model.weights)
        if tokens == 0:
            return _too_large(demand, cpu, model, longest, unchecked=unchecked)
    return Size(
        _resources(cpu, model.weights + memory.used_in_ram(model, tokens)),
        tokens,
        tuple(_describe(demand, cpu, tokens, longest)) if cpu else (),
        MemoryBreakdown(
            of="RAM",
            shares=1,
            weights=model.weights,
            cache=memory.cache_in_ram(model, tokens),
            reserve=memory.reserve_in_ram(model, tokens),
            capacity=cpu.memory if cpu else None,
        ),
    )


def _too_large(
    demand: Demand, cpu: CpuFacts, model: Model, longest: int, *, unchecked: bool
) -> Size:
    message = (
        f"the weights of {demand} take {model.weights / GIB:.1f} GiB of memory, its "
        f"server {model.server / GIB:.1f} GiB and the smallest cache "
        f"{memory.cache_in_ram(model, 1) / GIB:.1f} GiB, a node has {cpu}, of which "
        f"{cpu.usable / GIB:.1f} GiB may be used"
    )
    if unchecked:
        return Size(_resources(cpu, cpu.usable), longest, (f"{message}; tried anyway",))
    raise TooLargeError(
        "inference.preset.name",
        f"{message}; name a smaller model, or nodes with more memory",
    )


def _resources(cpu: CpuFacts | None, memory_bytes: int) -> dict[str, str]:
    millicores = cpu.millicores // 2 if cpu else ASSUMED_MILLICORES
    return {"cpu": format_cores(millicores), "memory": format_memory(memory_bytes)}


def _describe(
    demand: Demand, cpu: CpuFacts, tokens: int, longest: int
) -> Iterator[str]:
    preset = demand.preset
    if demand.context and tokens < demand.context:
        yield (
            f"{CONTEXT_FIELD}: found {demand.context}; {tokens} tokens fit a node with "
            f"{cpu}, and so many are served"
        )
    elif tokens < demand.least_context:
        yield (
            f"{preset.name} barely fits a node with {cpu}: there is room for {tokens} "
            "tokens; use a node with more memory"
        )
    elif tokens < demand.longest:
        why = (
            "a node's memory is shared; set vllm.max-model-len in inference.config for "
            "more"
            if tokens == longest
            else f"a node with {cpu} holds no more"
        )
        yield (
            f"prompt and answer can have {tokens} of the {preset.context_length} "
            f"tokens that {preset.name} was made for: {why}"
        )
