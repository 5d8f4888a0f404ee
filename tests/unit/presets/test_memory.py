"""What a model takes of a GPU, against sums made by hand."""

import pytest

from pykaito.runtime.presets.catalogue import Attention, Preset, find_preset
from pykaito.runtime.presets.gpu import GIB, GpuFacts, weakest
from pykaito.runtime.presets.memory import (
    Sharing,
    Split,
    cache,
    cache_on_gpu,
    model_of,
    tokens_that_fit,
    weights_on_gpu,
)

LLAMA_8B = find_preset("llama-3.1-8b-instruct")
DEEPSEEK = find_preset("deepseek-v3-0324")


def test_grouped_query_attention_keeps_keys_and_values_of_its_heads() -> None:
    # 2 x 8 heads x 128 x 32 layers x 2 bytes, for each of 1000 tokens.
    assert cache(LLAMA_8B.attention, 1000, "auto") == 2 * 8 * 128 * 32 * 2 * 1000


def test_a_latent_is_kept_once_for_all_heads() -> None:
    assert cache(DEEPSEEK.attention, 1000, "auto") == (512 + 64) * 61 * 2 * 1000


def test_a_cache_in_fp8_takes_half() -> None:
    whole = cache(LLAMA_8B.attention, 1000, "auto")
    assert cache(LLAMA_8B.attention, 1000, "fp8") == whole // 2


def test_a_sliding_layer_keeps_no_more_than_its_window() -> None:
    attention = Attention(
        kind="gqa", bytes_per_token=600, kv_heads=8, layers=6, full_layers=1,
        sliding_layers=5, window=10,
    )  # fmt: skip
    assert cache(attention, 10, "auto") == 600 * 10
    assert cache(attention, 1000, "auto") == 100 * 1000 + 500 * 10


def test_a_layer_with_a_state_keeps_nothing_of_a_token() -> None:
    attention = find_preset("qwen3.6-27b").attention
    assert cache(attention, 1000, "auto") == attention.bytes_per_token * 1000 // 4


@pytest.mark.parametrize(
    ("preset", "split", "ways"),
    [
        (LLAMA_8B, Split.TENSOR, 8),
        (DEEPSEEK, Split.TENSOR, 1),
        (DEEPSEEK, Split.LAYERS, 16),
    ],
)
def test_a_cache_is_dealt_by_heads_or_by_layers(
    preset: Preset,
    split: Split,
    ways: int,
) -> None:
    model = model_of(preset, kv_dtype="auto", adapters=0)
    whole = cache(model.attention, 1600, "auto")
    assert cache_on_gpu(model, Sharing(16, 1, split), 1600) == whole // ways


def test_weights_are_dealt_to_the_gpus_of_all_nodes() -> None:
    model = model_of(LLAMA_8B, kv_dtype="auto", adapters=0)
    assert weights_on_gpu(model, Sharing(4, 2, Split.TENSOR)) == pytest.approx(
        14.96 * GIB / 8, abs=1
    )


def test_adapters_are_sized_by_the_model_before_it_was_quantised() -> None:
    plain, quantised = find_preset("qwen3.5-122b-a10b-gptq-int4"), LLAMA_8B
    for preset, share in ((plain, 0.04), (quantised, 0.01)):
        without = model_of(preset, kv_dtype="auto", adapters=0).weights
        with_ten = model_of(preset, kv_dtype="auto", adapters=10).weights
        assert with_ten / without == pytest.approx(1 + 10 * share, rel=1e-6)


def test_tokens_come_in_whole_blocks_up_to_the_models_limit() -> None:
    model = model_of(LLAMA_8B, kv_dtype="auto", adapters=0)
    alone = Sharing(1, 1, Split.TENSOR)
    a_token = LLAMA_8B.attention.bytes_per_token
    assert tokens_that_fit(model, alone, 39 * a_token) == 32
    assert tokens_that_fit(model, alone, 10**15) == LLAMA_8B.context_length
    assert tokens_that_fit(model, alone, -1) == 0


def test_several_nodes_count_as_their_weakest() -> None:
    found = weakest(
        [GpuFacts("big", 2, 80_000), GpuFacts("small", 4, 16_000, bfloat16=False)]
    )
    assert found == GpuFacts("small", 2, 16_000, bfloat16=False)
    assert weakest([]) is None


def test_gpus_that_no_runtime_computes_on_are_the_weakest() -> None:
    amd = GpuFacts("MI210", 8, 65_536, resource="amd.com/gpu")
    found = weakest([GpuFacts("small", 4, 16_000), amd])
    assert found == GpuFacts("MI210", 4, 65_536, resource="amd.com/gpu")
