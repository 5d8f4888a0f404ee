"""The estimate: what must hold for every model and every GPU."""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pykaito.reconcilers.gpu_facts import offers
from pykaito.runtime.presets import memory
from pykaito.runtime.presets.catalogue import Attention, Preset, catalogue, find_preset
from pykaito.runtime.presets.estimate import (
    MAX_NODES,
    DoesNotFitError,
    Estimate,
    estimate,
)
from pykaito.runtime.presets.gpu import GIB, GpuFacts
from pykaito.runtime.presets.memory import Split

V100 = GpuFacts("V100", 1, 16160, bfloat16=False)
A100 = GpuFacts("A100", 8, 81920)

GPUS = st.builds(
    GpuFacts,
    name=st.just("GPU"),
    count=st.integers(1, 16),
    memory_mib=st.integers(4_000, 200_000),
)
NODES = st.integers(1, 20)
SPLITS = st.sampled_from(Split)


@st.composite
def made_up(draw: st.DrawFn) -> Preset:
    """A model that nobody made, with any mix of layers."""
    full, sliding, others = (draw(st.integers(0, 60)) for _ in range(3))
    layers = full + sliding + others
    attention = Attention(
        kind="gqa",
        bytes_per_token=draw(st.integers(1_000, 2_000_000)),
        kv_heads=draw(st.integers(1, 128)),
        layers=layers,
        full_layers=full,
        sliding_layers=sliding,
        window=draw(st.integers(1, 4096)) if sliding else 0,
    )
    return Preset(
        name="made-up",
        licence="mit",
        weights_gib=draw(st.floats(0.1, 900)),
        quantization=draw(st.sampled_from(["", "fp8", "awq"])),
        dtype="auto",
        context_length=draw(st.integers(1, 1_048_576)),
        attention=attention,
        disk_gib=1,
    )


PRESETS = st.sampled_from(list(catalogue().values())) | made_up()


def gpus_of(preset: Preset, gpu: GpuFacts, **options: Any) -> float:
    """How many GPUs a replica takes; without end where it does not fit."""
    try:
        found = estimate(preset, gpu, **options)
    except DoesNotFitError:
        return math.inf
    return found.gpus * found.nodes


def check(found: Estimate, preset: Preset, gpu: GpuFacts, asked: int) -> None:
    assert found.gpus <= gpu.count
    assert found.gpus.bit_count() == 1
    assert 1 <= found.context_length <= preset.context_length
    assert found.total <= gpu.memory
    assert found.reserve >= 0
    if not found.tight:
        assert found.context_length >= min(asked, preset.context_length)
        assert found.total <= memory.usable(gpu)


@settings(deadline=None)
@given(PRESETS, GPUS, st.integers(129, 300_000), NODES, SPLITS, st.integers(0, 10))
def test_a_plan_fits_by_its_own_arithmetic(
    preset: Preset, gpu: GpuFacts, asked: int, nodes: int, split: Split, adapters: int
) -> None:
    try:
        found = estimate(
            preset, gpu, context=asked, split=split, max_nodes=nodes, adapters=adapters
        )
    except DoesNotFitError:
        return
    assert found.nodes <= nodes
    check(found, preset, gpu, asked)


@settings(deadline=None)
@given(PRESETS, GPUS, st.integers(1, 100_000), st.integers(0, 100_000), NODES, SPLITS)
def test_a_longer_context_never_takes_fewer_gpus(
    preset: Preset, gpu: GpuFacts, asked: int, more: int, nodes: int, split: Split
) -> None:
    options = {"split": split, "max_nodes": nodes}
    less = gpus_of(preset, gpu, context=asked, **options)
    assert less <= gpus_of(preset, gpu, context=asked + more, **options)


@settings(deadline=None)
@given(PRESETS, GPUS, st.floats(1, 4), NODES, SPLITS)
def test_larger_weights_never_take_fewer_gpus(
    preset: Preset, gpu: GpuFacts, factor: float, nodes: int, split: Split
) -> None:
    larger = preset.model_copy(update={"weights_gib": preset.weights_gib * factor})
    options = {"split": split, "max_nodes": nodes}
    assert gpus_of(preset, gpu, **options) <= gpus_of(larger, gpu, **options)


@settings(deadline=None)
@given(PRESETS, GPUS, st.integers(0, 10), NODES)
def test_adapters_never_take_fewer_gpus(
    preset: Preset, gpu: GpuFacts, adapters: int, nodes: int
) -> None:
    without = gpus_of(preset, gpu, max_nodes=nodes)
    assert without <= gpus_of(preset, gpu, max_nodes=nodes, adapters=adapters)


@settings(deadline=None)
@given(PRESETS, GPUS, st.integers(0, 100_000), NODES, SPLITS)
def test_gpus_with_more_memory_are_never_more(
    preset: Preset, gpu: GpuFacts, more: int, nodes: int, split: Split
) -> None:
    larger = dataclasses.replace(gpu, memory_mib=gpu.memory_mib + more)
    options = {"split": split, "max_nodes": nodes}
    assert gpus_of(preset, larger, **options) <= gpus_of(preset, gpu, **options)


@settings(deadline=None)
@given(PRESETS, GPUS, st.integers(0, 100_000), SPLITS)
def test_on_as_many_gpus_more_memory_never_holds_less(
    preset: Preset, gpu: GpuFacts, more: int, split: Split
) -> None:
    gpu = dataclasses.replace(gpu, count=1)
    larger = dataclasses.replace(gpu, memory_mib=gpu.memory_mib + more)
    try:
        found = estimate(preset, gpu, split=split, max_nodes=1)
    except DoesNotFitError:
        return
    after = estimate(preset, larger, split=split, max_nodes=1)
    assert found.context_length <= after.context_length


@settings(deadline=None)
@given(PRESETS, GPUS, NODES, SPLITS)
def test_only_what_exceeds_the_memory_is_refused(
    preset: Preset, gpu: GpuFacts, nodes: int, split: Split
) -> None:
    """But for the 16 tokens of a first block, without which nothing is served."""
    if gpus_of(preset, gpu, split=split, max_nodes=nodes) < math.inf:
        return
    heads = preset.attention.kv_heads
    widest = max(
        width
        for width in (1, 2, 4, 8, 16)
        if width <= gpu.count
        and (split is Split.LAYERS or heads % width == 0 or width % heads == 0)
    )
    weights = preset.weights_gib * GIB / (widest * nodes)
    assert weights + memory.cache(preset.attention, 16, "auto") > gpu.memory


@settings(deadline=None)
@given(PRESETS, GPUS)
def test_a_cache_in_fp8_never_takes_more_gpus(preset: Preset, gpu: GpuFacts) -> None:
    whole = gpus_of(preset, gpu, context=30_000)
    assume(whole < math.inf)
    assert gpus_of(preset, gpu, context=30_000, kv_dtype="fp8") <= whole


def test_falcon_7b_fits_a_v100_of_16_gib() -> None:
    found = estimate(find_preset("falcon-7b"), V100)
    assert (found.gpus, found.nodes, found.tight) == (1, 1, False)
    assert found.context_length == 2048


def test_a_model_takes_the_gpus_it_needs_and_not_all_of_the_node() -> None:
    assert estimate(find_preset("phi-3.5-mini-instruct"), A100).gpus == 1
    assert estimate(find_preset("falcon-40b"), A100).gpus == 2


def test_the_context_is_cut_to_what_fits_before_gpus_are_added() -> None:
    found = estimate(find_preset("phi-3-mini-128k-instruct"), V100)
    assert not found.tight
    assert 10_000 < found.context_length < 131_072


def test_a_context_that_is_asked_for_is_made_room_for() -> None:
    llama = find_preset("llama-3.3-70b-instruct")
    assert estimate(llama, A100).gpus == 2
    found = estimate(llama, A100, context=131_072)
    assert (found.gpus, found.context_length) == (4, 131_072)


def test_heads_that_cannot_be_dealt_evenly_keep_gpus_out() -> None:
    """phi-4 has 10 key-value heads: 4 GPUs cannot share them, 2 can."""
    phi, t4 = find_preset("phi-4"), GpuFacts("T4", 4, 15109)
    assert estimate(phi, t4, split=Split.LAYERS, max_nodes=1).gpus == 4
    assert estimate(phi, t4).gpus == 2


def test_a_model_that_barely_fits_gets_all_gpus_and_says_so() -> None:
    small = GpuFacts("small", 1, 14_000)
    found = estimate(find_preset("falcon-7b"), small, max_nodes=1)
    assert found.tight
    assert found.context_length == 128


def test_weights_that_exceed_the_memory_are_refused_with_both_sizes() -> None:
    with pytest.raises(DoesNotFitError, match=r"77\.9 GiB.*15\.8 GiB"):
        estimate(find_preset("falcon-40b"), V100, max_nodes=1)


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("preset", catalogue().values(), ids=lambda p: p.name)
def test_every_preset_has_a_plan_that_fits_on_every_instance_type(
    preset: Preset, split: Split
) -> None:
    """Or exceeds it: on one node, and on several that share it."""
    nodes = 1 if split is Split.LAYERS else MAX_NODES
    for gpu in offers(None):
        try:
            found = estimate(preset, gpu, split=split, max_nodes=nodes)
        except DoesNotFitError:
            # All but the room of a first block.
            assert preset.weights_gib * GIB > 0.9 * gpu.memory * gpu.count * nodes
        else:
            check(found, preset, gpu, 2048)


@settings(deadline=None)
@given(PRESETS, GPUS, st.integers(1, 16), st.integers(1, 100_000))
def test_gpus_that_are_given_are_used_all_and_no_others(
    preset: Preset, gpu: GpuFacts, gpus: int, limit: int
) -> None:
    try:
        found = estimate(
            preset, gpu, split=Split.LAYERS, gpus=gpus, limit=limit, max_nodes=1
        )
    except DoesNotFitError:
        return
    assert found.gpus == gpus
    assert 1 <= found.context_length <= min(limit, preset.context_length)
    assert found.total <= gpu.memory


@settings(deadline=None)
@given(PRESETS, GPUS, st.integers(1, 15), SPLITS, st.integers(1, 100_000))
def test_more_of_the_same_gpus_never_hold_less(
    preset: Preset, gpu: GpuFacts, gpus: int, split: Split, limit: int
) -> None:
    def longest(gpus: int) -> int:
        try:
            found = estimate(
                preset, gpu, split=split, gpus=gpus, limit=limit, max_nodes=1
            )
        except DoesNotFitError:
            return 0
        return found.context_length

    assert longest(gpus) <= longest(gpus + 1)


def test_a_limit_cuts_a_context_that_would_fit() -> None:
    found = estimate(find_preset("phi-3-mini-4k-instruct"), A100, limit=1000)
    assert (found.context_length, found.cache) == (1000, 1000 * 393216)
    assert not found.tight
