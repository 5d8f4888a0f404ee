"""What a model takes of each GPU's memory; docs/estimator.md has the sources.

All figures are bytes, all functions pure and exact in whole numbers, so that a
plan that is said to fit does so by the same arithmetic whoever repeats it.
"""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from pykaito.runtime.presets.catalogue import Attention, Preset
from pykaito.runtime.presets.gpu import GIB, GpuFacts

KvDtype = Literal["auto", "fp8"]

#: Share of a GPU's memory that a model server plans with; the rest is for the
#: CUDA context, the driver and fragmentation.
UTILIZATION_PERCENT = 92
#: Workspaces of kernels and libraries on each GPU.
WORKSPACE = GIB // 2
#: The server itself where its memory counts: Python, torch, transformers.
SERVER = GIB
#: The same of vLLM, which has one process for HTTP and another for the model.
VLLM_SERVER = 3 * GIB
#: Vectors of the hidden size that a prefill in RAM keeps of each token.
ACTIVATION_VECTORS = 43
#: Activations of a prefill, as a share of the weights on the GPU.
ACTIVATION_PERCENT = 2
#: One LoRA adapter, as a share of the weights at 16 bits: about rank 32.
ADAPTER_PERCENT = 1
#: The cache is handed out in blocks of so many tokens.
BLOCK_TOKENS = 16
#: The same of the transformers runtime, whose own figure comes with torch
#: (pykaito.runtime.hf.kv_cache.UNIT).
UNIT_TOKENS = 4096

_BITS = {
    "": 16,
    "fp8": 8,
    "int8": 8,
    "awq": 4,
    "gptq": 4,
    "int4": 4,
    "mxfp4": 4,
    "nvfp4": 4,
}


class Split(Enum):
    """How GPUs of one node share a model."""

    #: Every GPU has a part of every layer (vLLM).
    TENSOR = "tensor"
    #: Every GPU has some of the layers (transformers' device map).
    LAYERS = "layers"


@dataclass(frozen=True, slots=True)
class Sharing:
    """How many GPUs share a replica; several nodes split it by layers."""

    gpus: int
    nodes: int
    split: Split


@dataclass(frozen=True, slots=True)
class Model:
    """What has to fit: weights and adapters, and a cache that grows."""

    #: Weights with adapters.
    weights: int
    attention: Attention
    kv_dtype: KvDtype
    context_length: int
    #: What its server takes beside it, where memory is shared with that.
    server: int = SERVER
    #: Whether its cache is handed out in units, in each of which all layers keep
    #: all tokens: by the transformers runtime.
    in_units: bool = False


def model_of(
    preset: Preset,
    *,
    kv_dtype: KvDtype = "auto",
    adapters: int = 0,
    limit: int | None = None,
    unpacked: bool = False,
    server: int = SERVER,
    in_units: bool = False,
) -> Model:
    """Return what a preset with so many LoRA adapters puts into memory.

    Args:
        preset: the model.
        kv_dtype: how the cache is stored.
        adapters: how many LoRA adapters are loaded with it.
        limit: tokens that a sequence may have, where fewer than it was made for.
        unpacked: quantised weights are loaded as 16 bits.
        server: what its server takes beside it.
        in_units: whether its cache is handed out in units.
    """
    stored = round(preset.weights_gib * GIB)
    full_precision = stored * 16 // _BITS[preset.quantization]
    weights = full_precision if unpacked else stored
    return Model(
        weights=weights + adapters * full_precision * ADAPTER_PERCENT // 100,
        attention=preset.attention,
        kv_dtype=kv_dtype,
        context_length=min(preset.context_length, limit or preset.context_length),
        server=server,
        in_units=in_units,
    )


def usable(gpu: GpuFacts) -> int:
    """Return what a model server may plan with, of one GPU."""
    return gpu.memory * UTILIZATION_PERCENT // 100


def weights_on_gpu(model: Model, sharing: Sharing) -> int:
    """Return what the weights take of each GPU."""
    return _ceil(model.weights, sharing.gpus * sharing.nodes)


def reserve_on_gpu(model: Model, sharing: Sharing) -> int:
    """Return what activations and workspaces take of each GPU."""
    activations = weights_on_gpu(model, sharing) * ACTIVATION_PERCENT // 100
    return WORKSPACE + activations


def reserve_in_ram(model: Model, tokens: int) -> int:
    """Return what the server and the activations of so long a prompt take of a node.

    The hidden size of a model follows from its parameters: 12 h^2 in each layer,
    and a layer for each 128 of h, as models of all sizes have them.
    """
    parameters = model.weights / 2
    hidden = round(math.cbrt(parameters * 128 / 12))
    return model.server + ACTIVATION_VECTORS * hidden * 2 * tokens


def cache_on_gpu(model: Model, sharing: Sharing, tokens: int) -> int:
    """Return what a sequence of so many tokens takes of each GPU.

    Tensor parallelism divides a cache by its heads: more GPUs than heads keep
    copies, and a latent (mla) is copied to each.
    """
    ways = sharing.gpus
    if sharing.split is Split.TENSOR:
        ways = min(sharing.gpus, model.attention.kv_heads)
    return _ceil(cache(model.attention, tokens, model.kv_dtype), ways * sharing.nodes)


def cache(attention: Attention, tokens: int, kv_dtype: KvDtype) -> int:
    """Return the size of a sequence's cache on all GPUs together."""
    size = attention.bytes_per_token * tokens
    if attention.layers:
        sliding = attention.sliding_layers * min(tokens, attention.window)
        layer_tokens = attention.full_layers * tokens + sliding
        size = _ceil(attention.bytes_per_token * layer_tokens, attention.layers)
    return size if kv_dtype == "auto" else _ceil(size, 2)


def tokens_that_fit(model: Model, sharing: Sharing, room: int) -> int:
    """Return the longest sequence whose cache takes at most ``room`` of a GPU."""
    return _longest(model, room, lambda tokens: cache_on_gpu(model, sharing, tokens))


def tokens_that_fit_ram(model: Model, room: int) -> int:
    """Return the longest sequence that takes at most ``room`` beside the weights."""
    return _longest(model, room, lambda tokens: used_in_ram(model, tokens))


def used_in_ram(model: Model, tokens: int) -> int:
    """Return what a sequence of so many tokens and the server take of a node."""
    return cache_in_ram(model, tokens) + reserve_in_ram(model, tokens)


def cache_in_ram(model: Model, tokens: int) -> int:
    """Return what the cache of a sequence of so many tokens takes of a node."""
    if not model.in_units:
        return cache(model.attention, tokens, model.kv_dtype)
    slots = _ceil(tokens, UNIT_TOKENS) * UNIT_TOKENS
    everything = model.attention.model_copy(update={"window": slots})
    return cache(everything, slots, model.kv_dtype)


def _longest(model: Model, room: int, size: Callable[[int], int]) -> int:
    limit = model.context_length
    tokens = max(0, bisect.bisect_right(range(limit + 1), room, key=size) - 1)
    return tokens if tokens == limit else tokens - tokens % BLOCK_TOKENS


def _ceil(amount: int, ways: int) -> int:
    return -(-amount // ways)
