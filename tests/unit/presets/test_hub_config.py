"""A model's own config.json says what the catalogue says of it."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pykaito.runtime.presets.catalogue import Preset, find_preset
from pykaito.runtime.presets.gpu import GIB
from pykaito.runtime.presets.hub_config import (
    ConfigError,
    Origin,
    parameters_size,
    preset_of,
    read_json,
)
from pykaito.runtime.presets.hub_files import Weights

ORIGIN = Origin(name="org/model", hub="org/model")

PHI_3_MINI = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "sliding_window": 2047,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32064,
}
LLAMA_3_1_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}
QWEN_2_5_CODER_7B = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "sliding_window": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 152064,
}
#: Sizes from public config.json files, cut down to what is read.
CONFIGS: dict[str, dict[str, Any]] = {
    "phi-3-mini-4k-instruct": PHI_3_MINI,
    "llama-3.1-8b-instruct": LLAMA_3_1_8B,
    "qwen2.5-coder-7b-instruct": QWEN_2_5_CODER_7B,
    "falcon-7b": {
        "architectures": ["FalconForCausalLM"],
        "model_type": "falcon",
        "hidden_size": 4544,
        "multi_query": True,
        "new_decoder_architecture": False,
        "num_attention_heads": 71,
        "num_hidden_layers": 32,
        "num_kv_heads": 71,
        "torch_dtype": "bfloat16",
        "vocab_size": 65024,
    },
    "falcon-40b": {
        "architectures": ["FalconForCausalLM"],
        "model_type": "falcon",
        "hidden_size": 8192,
        "multi_query": True,
        "new_decoder_architecture": True,
        "num_attention_heads": 128,
        "num_hidden_layers": 60,
        "num_kv_heads": 8,
        "torch_dtype": "bfloat16",
        "vocab_size": 65024,
    },
    "phi-2": {
        "architectures": ["PhiForCausalLM"],
        "model_type": "phi",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "max_position_embeddings": 2048,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": None,
        "torch_dtype": "float16",
        "vocab_size": 51200,
    },
    "mistral-7b-instruct": {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 32768,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "sliding_window": None,
        "torch_dtype": "bfloat16",
        "vocab_size": 32768,
    },
    "deepseek-r1-0528": {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "hidden_size": 7168,
        "kv_lora_rank": 512,
        "max_position_embeddings": 163840,
        "n_routed_experts": 256,
        "num_attention_heads": 128,
        "num_hidden_layers": 61,
        "num_key_value_heads": 128,
        "q_lora_rank": 1536,
        "qk_rope_head_dim": 64,
        "quantization_config": {
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "quant_method": "fp8",
            "weight_block_size": [128, 128],
        },
        "torch_dtype": "bfloat16",
    },
    "gpt-oss-20b": {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "head_dim": 64,
        "hidden_size": 2880,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
        "max_position_embeddings": 131072,
        "num_attention_heads": 64,
        "num_hidden_layers": 24,
        "num_key_value_heads": 8,
        "num_local_experts": 32,
        "quantization_config": {"quant_method": "mxfp4"},
        "sliding_window": 128,
    },
    "gemma-3-4b-instruct": {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "model_type": "gemma3_text",
            "num_hidden_layers": 34,
            "sliding_window": 1024,
        },
        "torch_dtype": "bfloat16",
        "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
    },
    "gemma-3-27b-instruct": {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "head_dim": 128,
            "hidden_size": 5376,
            "model_type": "gemma3_text",
            "num_attention_heads": 32,
            "num_hidden_layers": 62,
            "num_key_value_heads": 16,
            "sliding_window": 1024,
        },
        "torch_dtype": "bfloat16",
    },
    "qwen3-8b-awq": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "head_dim": 128,
        "hidden_size": 4096,
        "max_position_embeddings": 40960,
        "num_attention_heads": 32,
        "num_hidden_layers": 36,
        "num_key_value_heads": 8,
        "quantization_config": {"bits": 4, "quant_method": "awq"},
        "torch_dtype": "float16",
    },
    "qwen3.5-4b": {
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        "model_type": "qwen3_5",
        "text_config": {
            "full_attention_interval": 4,
            "head_dim": 256,
            "hidden_size": 2560,
            "max_position_embeddings": 262144,
            "num_attention_heads": 16,
            "num_hidden_layers": 32,
            "num_key_value_heads": 4,
            "dtype": "bfloat16",
        },
    },
}

#: What of a preset its config.json decides.
DECIDED = (
    "attention",
    "architecture",
    "context_length",
    "quantization",
)


def weights(gib: float) -> Weights:
    return Weights("safetensors", round(gib * GIB), complete=True)


def described(config: Any, gib: float = 1) -> Preset:
    return preset_of(config, weights(gib), ORIGIN)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_says_what_the_catalogue_says(name: str) -> None:
    catalogued = find_preset(name)
    found = described(CONFIGS[name], catalogued.weights_gib)
    for field in DECIDED:
        assert getattr(found, field) == getattr(catalogued, field), field
    assert found.weights_gib == catalogued.weights_gib


@pytest.mark.parametrize("gib", [1, 14.96, 61.03, 131.42, 641.3])
def test_disk_and_time_are_those_of_the_catalogue(gib: float) -> None:
    alike = {1: "qwen3.5-2b", 14.96: "llama-3.1-8b-instruct"}
    alike |= {61.03: "qwen2.5-coder-32b-instruct", 131.42: "llama-3.3-70b-instruct"}
    catalogued = find_preset(alike.get(gib, "deepseek-r1-0528"))
    found = described(LLAMA_3_1_8B, catalogued.weights_gib)
    assert found.disk_gib == catalogued.disk_gib
    assert found.readiness_minutes == catalogued.readiness_minutes


@pytest.mark.parametrize(
    "name",
    ["llama-3.1-8b-instruct", "phi-3-mini-4k-instruct", "qwen2.5-coder-7b-instruct"],
)
def test_the_weights_of_a_dense_model_follow_from_its_config(name: str) -> None:
    size = parameters_size(CONFIGS[name]) / GIB
    assert size == pytest.approx(find_preset(name).weights_gib, rel=0.01)


def test_the_weights_of_experts_do_not_follow_from_a_config() -> None:
    with pytest.raises(ConfigError, match="num_local_experts"):
        parameters_size(CONFIGS["gpt-oss-20b"])


def test_what_is_stored_in_32_bits_is_loaded_in_16() -> None:
    config = {**LLAMA_3_1_8B, "torch_dtype": "float32"}
    assert described(config, 30).weights_gib == 15
    assert described(config, 30).dtype == "bfloat16"
    assert parameters_size(config) == 2 * parameters_size(LLAMA_3_1_8B)


@pytest.mark.parametrize(
    ("config", "full", "sliding", "window"),
    [
        ({"hybrid_override_pattern": "M-M*-M-*"}, 2, 0, 0),
        ({"layers_block_type": ["mamba", "attention"] * 4}, 4, 0, 0),
        ({"attn_layer_period": 4, "attn_layer_offset": 2}, 2, 0, 0),
        ({"model_type": "gemma2", "sliding_window": 4096}, 4, 4, 4096),
        ({"model_type": "mistral", "sliding_window": 4096}, 0, 8, 4096),
        ({"sliding_window": 16, "sliding_window_pattern": 4}, 2, 6, 16),
        (
            {"layer_types": ["chunked_attention"] * 8, "attention_chunk_size": 9},
            0,
            8,
            9,
        ),
    ],
)
def test_layers_that_forget_are_counted(
    config: dict[str, Any], full: int, sliding: int, window: int
) -> None:
    attention = described({**LLAMA_3_1_8B, "num_hidden_layers": 8, **config}).attention
    assert attention.layers == 8
    assert (attention.full_layers, attention.sliding_layers) == (full, sliding)
    assert attention.window == window


@pytest.mark.parametrize(
    "config",
    [
        {"layer_types": ["something_new"] * 32},
        {"layer_types": ["sliding_attention"] * 32},
        {"sliding_window": 4096, "use_sliding_window": False},
    ],
)
def test_layers_that_are_not_understood_count_in_full(config: dict[str, Any]) -> None:
    assert described({**LLAMA_3_1_8B, **config}).attention.layers == 0


def test_heads_of_other_sizes_count_by_the_largest() -> None:
    config = {**LLAMA_3_1_8B, "global_head_dim": 512, "num_global_key_value_heads": 8}
    assert described(config).attention.bytes_per_token == 2 * 8 * 512 * 32 * 2


@pytest.mark.parametrize(
    ("found", "quantization"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "compressed-tensors", "format": "float-quantized"}, "fp8"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "int4"),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "nvfp4-pack-quantized",
            },
            "nvfp4",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "int-quantized",
                "config_groups": {"group_0": {"weights": {"num_bits": 8}}},
            },
            "int8",
        ),
    ],
)
def test_ways_of_storing_weights_are_known(
    found: dict[str, Any], quantization: str
) -> None:
    config = {**LLAMA_3_1_8B, "quantization_config": found}
    assert described(config).quantization == quantization
    assert described(config).dtype == "auto"


@pytest.mark.parametrize(
    ("config", "served"),
    [
        ({}, True),
        ({"architectures": ["LlavaForConditionalGeneration"]}, False),
        ({"architectures": None}, False),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, True),
        ({"quantization_config": {"quant_method": "gptq"}}, False),
    ],
)
def test_transformers_serves_causal_models_that_it_can_read(
    config: dict[str, Any], served: bool
) -> None:
    assert described({**LLAMA_3_1_8B, **config}).transformers is served


def test_transformers_does_not_read_the_form_of_mistral() -> None:
    found = preset_of(LLAMA_3_1_8B, Weights("mistral", GIB, complete=True), ORIGIN)
    assert not found.transformers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": None}, "num_hidden_layers: found none, nor n_layer or"),
        ({"hidden_size": None}, "hidden_size: found none, nor n_embd or"),
        (
            {"num_hidden_layers": "32"},
            'num_hidden_layers: found "32", must be a number',
        ),
        ({"num_hidden_layers": -1}, "num_hidden_layers: found -1"),
        ({"quantization_config": 4}, "quantization_config: found 4, must be an object"),
    ],
)
def test_an_error_names_the_key_and_what_was_found(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        described({**LLAMA_3_1_8B, **change})


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"\xff\xfe", b"[" * 10**5])
def test_a_file_that_is_no_config_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigError, match="found"):
        read_json(content)


KEYS = st.sampled_from(
    sorted(
        {key for config in CONFIGS.values() for key in config}
        | {"n_layer", "n_embd", "n_head", "layers_block_type", "global_head_dim"}
        | {"attn_layer_period", "attn_layer_offset", "config_groups", "dtype"}
        | {"hybrid_override_pattern", "compression_config", "n_ctx", "bits"}
    )
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(KEYS, VALUES, max_size=12), st.sampled_from(sorted(CONFIGS)))
@example({"text_config": {"model_type": []}}, "phi-2")
def test_any_json_is_a_model_or_refused(changes: dict[str, Any], name: str) -> None:
    config = json.loads(json.dumps({**CONFIGS[name], **changes}))
    for read in (described, parameters_size):
        with contextlib.suppress(ConfigError):
            read(config)
