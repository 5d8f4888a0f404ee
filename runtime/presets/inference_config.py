"""What a user's ``inference_config.yaml`` says, checked: pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEY = "inference_config.yaml"
"""The key of the ConfigMap that ``inference.config`` names."""


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """Settings of the model server that a plan depends on."""

    #: Tokens that prompt and answer may have; None to fit them to the memory.
    max_model_len: int | None = None
    #: Of the whole content, for a pod template that changes with it; empty where
    #: there is none.
    checksum: str = ""
    #: Options of vLLM by their names without dashes before them, as written.
    vllm: Mapping[str, Any] | None = None


NO_CONFIG = InferenceConfig()
