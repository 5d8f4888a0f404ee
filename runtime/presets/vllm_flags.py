"""What vLLM is told of a model: pure, from ``vllm_flags.yaml``.

The maps hold for any model of a hub, since they go by names and architectures;
what depends on GPUs and users (dtype, parallelism, context) is not here.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from pykaito.runtime.presets.catalogue import Preset

#: Where the runtime's image keeps chat templates.
CHAT_TEMPLATES = "/workspace/chat_templates"


def vllm_flags(preset: Preset) -> Mapping[str, str | None]:
    """Return flags of ``vllm serve`` without their dashes, always in this order.

    None: the flag stands alone.
    """
    flags: dict[str, str | None] = {}
    if preset.mistral_format:
        modes = ("tokenizer-mode", "config-format", "load-format")
        flags |= dict.fromkeys(modes, "mistral")
    elif tokenizer := _find("tokenizerMode", preset):
        flags["tokenizer-mode"] = tokenizer
    if parser := _find("toolCallParser", preset):
        flags |= {"tool-call-parser": parser, "enable-auto-tool-choice": None}
    if parser := _find("reasoningParser", preset):
        flags["reasoning-parser"] = parser
    if template := _find("chatTemplate", preset):
        flags["chat-template"] = f"{CHAT_TEMPLATES}/{template}"
    if dtype := _find("kvCacheDtype", preset):
        flags["kv-cache-dtype"] = dtype
    if backend := _find("gdnPrefillBackend", preset):
        flags["gdn-prefill-backend"] = backend
    if kernels := _find("kernelConfig", preset):
        flags["kernel-config"] = json.dumps(kernels, separators=(",", ":"))
    if _find("enableExpertParallel", preset):
        flags["enable-expert-parallel"] = None
    return flags


def vllm_environment(preset: Preset) -> Mapping[str, str]:
    """Return environment variables that vLLM needs for the model."""
    return {"VLLM_USE_DEEP_GEMM": "1"} if _find("deepGemm", preset) else {}


def needs_cuda_toolkit(preset: Preset) -> bool:
    """Whether kernels of the model are compiled when its server starts."""
    return bool(_find("cudaToolkit", preset))


@cache
def _maps() -> Mapping[str, Any]:
    text = files(__package__).joinpath("vllm_flags.yaml").read_text()
    maps: Mapping[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return maps


def _find(setting: str, preset: Preset) -> Any:
    """Return what a map holds for the model, None for nothing."""
    rules = _maps()[setting]
    name = (preset.hub or preset.name).rpartition("/")[2].lower()
    named = [prefix for prefix in rules["names"] if name.startswith(prefix)]
    if named:
        return rules["names"][max(named, key=len)]
    return rules.get("architectures", {}).get(preset.architecture)
