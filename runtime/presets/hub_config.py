"""A model from its config.json: what the catalogue would say of it, pure.

Models name the same thing differently, and leave out what their class defaults to;
the keys that are read are those of the classes in transformers and vLLM.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pykaito.runtime.presets.catalogue import Attention, Preset
from pykaito.runtime.presets.gpu import GIB
from pykaito.runtime.presets.hub_files import Weights, find_weights
from pykaito.runtime.presets.hub_layers import count_layers

#: Tokens of a model that does not say how many it was made for.
DEFAULT_CONTEXT = 2048
#: More than any model has of anything; a number above it is a mistake.
_MOST = 2**40
_MOST_BYTES = 2**50

_CONTEXT = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "seq_length",
    "max_seq_len",
    "max_sequence_length",
    "model_max_length",
)
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV_HEADS = (
    "num_key_value_heads",
    "n_head_kv",
    "n_kv_heads",
    "num_kv_heads",
    "multi_query_group_num",
)
_HEAD_SIZE = ("head_dim", "attention_head_dim", "kv_channels")
_FEED_FORWARD = (
    "intermediate_size",
    "n_inner",
    "ffn_dim",
    "ffn_hidden_size",
    "hidden_dim",
)
_VOCABULARY = ("vocab_size", "padded_vocab_size")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")

#: Where models that also see or hear say what their language model is.
_NESTED = ("text_config", "llm_config", "language_config")

#: What a class defaults to, by model_type, where configs are known to leave it out.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "sliding_window_pattern": 6,
    },
}

Quantization = Literal["", "awq", "fp8", "gptq", "int4", "int8", "mxfp4", "nvfp4"]

#: Ways to store weights that the transformers runtime reads.
_IN_TRANSFORMERS = frozenset({"", "fp8", "mxfp4", "bitsandbytes"})


class ConfigError(Exception):
    """A config.json is not of a model; the message names the key."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a model beside its config.json and its files."""

    #: What people call it.
    name: str
    #: Its repository; empty where an image has it.
    hub: str = ""
    revision: str = ""
    licence: str = "unknown"
    gated: bool = False
    #: Whether the repository also has Mistral's own form of weights.
    mistral_format: bool = False


def read_json(content: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ConfigError: there is none.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"found no JSON: {error}") from None
    if not isinstance(found, dict):
        # Not what: it may be from a server that its reader cannot reach.
        raise ConfigError("found other JSON, must be a JSON object")
    return found


def preset_of(config: Mapping[str, Any], weights: Weights, origin: Origin) -> Preset:
    """Return what a config.json and the files beside it say of a model.

    Raises:
        ConfigError: a key is missing or has a value that no model has.
    """
    config = flatten(config)
    architecture = _architecture(config)
    quantization, method = quantization_of(config)
    stored, dtype = _dtype(config, quantized=bool(method))
    # What is stored in 32 bits is loaded in 16.
    size = weights.size // 2 if stored == "float32" else weights.size
    gib = max(round(size / GIB, 2), 0.01)
    causal = architecture.endswith("ForCausalLM")
    return Preset(
        name=origin.name,
        hub=origin.hub,
        revision=origin.revision,
        architecture=architecture,
        mistral_format=origin.mistral_format,
        licence=origin.licence,
        gated=origin.gated,
        weights_gib=gib,
        quantization=quantization,
        dtype=dtype,
        context_length=_context(config),
        attention=attention_of(config),
        # The catalogue's rules: room for image and cache, 20 s for each GiB.
        disk_gib=int(gib + 80),
        readiness_minutes=min(max(round(15 + 0.3 * gib), 30), 180),
        transformers=causal
        and method in _IN_TRANSFORMERS
        and weights.form != "mistral",
    )


def flatten(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config with the one of its language model and defaults filled in."""
    found = {key: value for key, value in config.items() if value is not None}
    for nested in _NESTED:
        inner = config.get(nested)
        if isinstance(inner, Mapping):
            told = {key: value for key, value in inner.items() if value is not None}
            model_type = told.get("model_type")
            found = {**told, **found}
            if isinstance(model_type, str):
                found = {**found, "model_type": model_type}
            break
    model_type = found.get("model_type")
    defaults = _DEFAULTS.get(model_type, {}) if isinstance(model_type, str) else {}
    return {**defaults, **found}


def attention_of(config: Mapping[str, Any]) -> Attention:
    """Return what a model remembers of each token, from its flat config.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    layers = _required(config, _LAYERS)
    mix = count_layers(config, layers)
    if latent := _number(config, ("kv_lora_rank",)):
        rope = _number(config, ("qk_rope_head_dim",)) or 0
        return Attention(
            kind="mla", bytes_per_token=(latent + rope) * layers * 2, kv_heads=1
        )
    kv_heads = kv_heads_of(config)
    heads = _number(config, _HEADS) or kv_heads
    # Its class copies the shared heads to all before it caches them.
    copied = config.get("new_decoder_architecture") is True
    cached = heads if copied else kv_heads
    width = cached * head_size_of(config)
    # Layers that attend to everything may have other heads than those that slide.
    wide = (_number(config, ("num_global_key_value_heads",)) or cached) * (
        _number(config, ("global_head_dim",)) or head_size_of(config)
    )
    kind: Literal["mha", "gqa", "mqa"] = "gqa"
    if kv_heads >= heads:
        kind = "mha"
    elif kv_heads == 1:
        kind = "mqa"
    return Attention(
        kind=kind,
        bytes_per_token=2 * max(width, wide) * layers * 2,
        kv_heads=cached,
        **(mix._asdict() if mix else {}),
    )


def kv_heads_of(config: Mapping[str, Any]) -> int:
    """Return the heads whose keys and values are remembered.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    if config.get("multi_query") is True and not config.get("new_decoder_architecture"):
        return _number(config, ("multi_query_group_num",)) or 1
    return _number(config, _KV_HEADS) or _required(config, _HEADS)


def head_size_of(config: Mapping[str, Any]) -> int:
    """Return the size of a head.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    if size := _number(config, _HEAD_SIZE):
        return size
    return max(_required(config, _HIDDEN) // _required(config, _HEADS), 1)


def weights_of(
    config: Mapping[str, Any],
    sizes: Mapping[str, int],
    index: Mapping[str, Any] | None,
) -> Weights:
    """Return the weights beside a config.json, where they may not all be at hand.

    Args:
        config: the config.json.
        sizes: the bytes of each file beside it.
        index: the model.safetensors.index.json, if there is one.

    Raises:
        ConfigError: their size does not follow from any of these.
    """
    if (found := find_weights(sizes)) and found.complete and found.size:
        return found
    metadata = index.get("metadata") if index else None
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    # Some writers of the file write a float.
    if isinstance(total, int | float) and 0 < total <= _MOST_BYTES:
        return Weights("safetensors", int(total), complete=True)
    return Weights("safetensors", parameters_size(config), complete=True)


def parameters_size(config: Mapping[str, Any]) -> int:
    """Return the bytes of a dense model's weights as stored, from its config.

    It counts the matrices of embeddings, attention and a gated feed-forward of
    each layer, and is too high for models that have less.

    Raises:
        ConfigError: a key is missing or wrong, or the model is of another kind.
    """
    config = flatten(config)
    for key in (*_EXPERTS, "kv_lora_rank"):
        if config.get(key):
            raise ConfigError(
                f"{key}: the size of such a model does not follow from its "
                "config.json; put its model.safetensors.index.json beside it"
            )
    hidden = _required(config, _HIDDEN)
    heads = _required(config, _HEADS)
    attention = 2 * hidden * head_size_of(config) * (heads + kv_heads_of(config))
    feed_forward = 3 * hidden * (_number(config, _FEED_FORWARD) or 4 * hidden)
    layers = _required(config, _LAYERS) * (attention + feed_forward)
    embeddings = hidden * _required(config, _VOCABULARY)
    if config.get("tie_word_embeddings") is not True:
        embeddings *= 2
    quantization, method = quantization_of(config)
    stored, _ = _dtype(config, quantized=bool(method))
    whole = 32 if stored == "float32" else 16
    bits = {"": whole, "fp8": 8, "int8": 8}.get(quantization, 4)
    return (layers * bits + embeddings * whole) // 8


def quantization_of(config: Mapping[str, Any]) -> tuple[Quantization, str]:
    """Return how weights are stored, and by which method; empty for 16 or 32 bits.

    Raises:
        ConfigError: quantization_config is not an object.
    """
    found = config.get("quantization_config") or config.get("compression_config")
    if not found:
        return "", ""
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"quantization_config: found {_brief(found)}, must be an object"
        )
    method = str(found.get("quant_method") or found.get("quant_algo") or "").lower()
    if method in {"awq", "mxfp4"}:
        return ("awq" if method == "awq" else "mxfp4"), method
    text = json.dumps(found, default=str).lower()
    bits = _bits(found)
    if "nvfp4" in text or "mixed_precision" in text:
        return "nvfp4", method or "nvfp4"
    if "fp8" in method or '"float-quantized"' in text or '"fp8"' in text:
        return "fp8", method or "fp8"
    if method == "gptq":
        return ("int8" if bits == 8 else "gptq"), method  # noqa: PLR2004 - bits
    return ("int8" if bits == 8 else "int4"), method or "unknown"  # noqa: PLR2004


def _bits(found: Mapping[str, Any]) -> int:
    if found.get("load_in_8bit") is True:
        return 8
    for key in ("bits", "nbits", "w_bit", "weight_bits"):
        if isinstance(found.get(key), int):
            return int(found[key])
    return _weight_bits(found)


def _weight_bits(found: Mapping[str, Any]) -> int:
    """Return the bits that compressed-tensors names for its first group."""
    groups = found.get("config_groups")
    if isinstance(groups, Mapping):
        for group in groups.values():
            weights = group.get("weights") if isinstance(group, Mapping) else None
            bits = weights.get("num_bits") if isinstance(weights, Mapping) else None
            if isinstance(bits, int):
                return bits
    return 4


def _dtype(
    config: Mapping[str, Any], *, quantized: bool
) -> tuple[str, Literal["auto", "float16", "bfloat16"]]:
    """Return what weights are stored in, as told, and what to compute in."""
    stored = config.get("dtype") or config.get("torch_dtype")
    stored = stored.removeprefix("torch.") if isinstance(stored, str) else ""
    if quantized:
        return "", "auto"
    return stored, "float16" if stored == "float16" else "bfloat16"


def _architecture(config: Mapping[str, Any]) -> str:
    found = config.get("architectures")
    if isinstance(found, Sequence) and found and isinstance(found[0], str):
        return found[0]
    return ""


def _context(config: Mapping[str, Any]) -> int:
    return _number(config, _CONTEXT) or DEFAULT_CONTEXT


def _required(config: Mapping[str, Any], keys: Sequence[str]) -> int:
    if found := _number(config, keys):
        return found
    raise ConfigError(f"{keys[0]}: found none, nor {' or '.join(keys[1:])}")


def _number(config: Mapping[str, Any], keys: Sequence[str]) -> int | None:
    """Return the first of the keys' numbers; of one for each layer the highest."""
    for key in keys:
        found = config.get(key)
        if found is None:
            continue
        values = found if isinstance(found, list) and found else [found]
        for value in values:
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not 0 <= value <= _MOST:
                raise ConfigError(f"{key}: found {_brief(value)}, must be a number")
        if highest := max(values):
            return int(highest)
    return None


def _brief(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line
