"""An adapter's ``adapter_config.json``: the format is peft's LoraConfig.

peft itself is not imported, which would take seconds of each start; a test holds
the names here to those of the installed peft.

A LoRA adapter adds ``alpha / rank * B @ A`` to a module's weights, or
``alpha / sqrt(rank) * B @ A`` where it is rank-stabilised (Hu et al. 2021,
arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732).
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pykaito.runtime.hf.errors import shown

#: Fields that enter the sum above.
SUMMED = frozenset(("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern"))

#: Fields that say what was trained and how. The tensors themselves say which
#: modules they belong to, and a module's class which way its weights lie.
TOLD = frozenset(
    (
        *("auto_mapping", "base_model_name_or_path", "corda_config", "eva_config"),
        *("exclude_modules", "fan_in_fan_out", "inference_mode", "layers_pattern"),
        *("layers_to_transform", "loftq_config", "lora_dropout", "lora_ga_config"),
        *("megatron_core", "peft_type", "peft_version", "qalora_group_size"),
        *("revision", "runtime_config", "target_modules", "task_type"),
    )
)

#: Fields that make of an adapter more than that sum, unless they are empty.
BEYOND = frozenset(
    (
        *("alora_invocation_tokens", "arrow_config", "bias", "ensure_weight_tying"),
        *("kasa_config", "layer_replication", "lora_bias", "megatron_config"),
        *("modules_to_save", "monteclora_config", "target_parameters"),
        *("trainable_token_indices", "use_bdlora", "use_dora", "use_qalora"),
        *("velora_config",),
    )
)

#: How a training may begin without changing the weights that it adds to.
PLAIN_BEGINNINGS = (True, False, "gaussian", "eva", "orthogonal")


#: What no training has: alphas are of the size of ranks.
MOST_ALPHA = 1_000_000

Value = TypeVar("Value", int, float)


class LoraConfigError(Exception):
    """The configuration cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """What of the file decides the sum. Ranks and alphas may differ by module."""

    rank: int
    alpha: float
    rank_stabilised: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    #: The base model's name where it was trained; "" where none is told.
    base_model: str

    def rank_of(self, module: str) -> int:
        """Return the inner dimension of a module's two factors."""
        return _by_pattern(self.rank_pattern, module, self.rank)

    def scaling_of(self, module: str) -> float:
        """Return what the product of a module's two factors is multiplied by."""
        rank = self.rank_of(module)
        alpha = _by_pattern(self.alpha_pattern, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


def parse_lora_config(text: str) -> LoraConfig:
    """Read the file's content.

    Raises:
        LoraConfigError: if it is malformed, or describes what cannot be merged exactly.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoraConfigError(f"found no JSON ({error})") from None
    if not isinstance(fields, dict):
        raise LoraConfigError(f"found {shown(fields)}, must be an object")
    kind = fields.get("peft_type")
    if kind != "LORA":
        raise LoraConfigError(f"peft_type: found {shown(kind)}, must be 'LORA'")
    _check_mergeable(fields)
    return LoraConfig(
        rank=_rank("r", fields.get("r", 8)),
        alpha=_alpha("lora_alpha", fields.get("lora_alpha", 8)),
        rank_stabilised=_flag("use_rslora", fields.get("use_rslora", False)),
        rank_pattern=_pattern("rank_pattern", fields, _rank),
        alpha_pattern=_pattern("alpha_pattern", fields, _alpha),
        base_model=str(fields.get("base_model_name_or_path") or ""),
    )


def _check_mergeable(fields: Mapping[str, Any]) -> None:
    beginning = fields.get("init_lora_weights", True)
    if beginning not in PLAIN_BEGINNINGS:
        raise LoraConfigError(
            f"init_lora_weights: found {shown(beginning)}, which changes the base "
            "model's weights too; save the adapter again with peft's "
            "path_initial_model_for_weight_conversion"
        )
    for name, value in fields.items():
        if name in SUMMED | TOLD | {"init_lora_weights"} or _is_off(value):
            continue
        if name in BEYOND:
            raise LoraConfigError(
                f"{name}: found {shown(value)}, which cannot be merged into the "
                "weights exactly; only plain LoRA can (and rank-stabilised LoRA)"
            )
        # Numbers tune what another field switches on.
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LoraConfigError(
                f"{name}: found {shown(value)}, a field of a later peft that may "
                "change what the adapter adds"
            )


def _is_off(value: Any) -> bool:
    return value is None or value is False or value in ("none", "", [], {})


def _by_pattern(pattern: Mapping[str, Value], module: str, default: Value) -> Value:
    """Return the value of the first pattern that fits a module's last parts."""
    for key, value in pattern.items():
        if _as_suffix(key).match(module):
            return value
    return default


def _as_suffix(key: str) -> re.Pattern[str]:
    return re.compile(rf"(.*\.)?({key})$")


def _pattern(
    name: str, fields: Mapping[str, Any], check: Callable[[str, Any], Any]
) -> dict[str, Any]:
    found = fields.get(name) or {}
    if not isinstance(found, dict):
        raise LoraConfigError(f"{name}: found {shown(found)}, must be an object")
    for key in found:
        try:
            _as_suffix(key)
        except re.error as error:
            raise LoraConfigError(
                f"{name}: found the key {shown(key)}, which is no regular "
                f"expression ({error})"
            ) from None
    return {key: check(f"{name}[{key}]", value) for key, value in found.items()}


def _rank(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise LoraConfigError(
            f"{name}: found {shown(value)}, must be a whole number from 1"
        )
    return value


def _alpha(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) <= MOST_ALPHA:
        raise LoraConfigError(
            f"{name}: found {shown(value)}, must be a number up to {MOST_ALPHA}"
        )
    return float(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise LoraConfigError(f"{name}: found {shown(value)}, must be true or false")
    return value
