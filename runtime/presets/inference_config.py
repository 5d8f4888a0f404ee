"""What a user's ``inference_config.yaml`` says, checked: pure."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pykaito.runtime.presets.memory import KvDtype
from pykaito.runtime.presets.settings_text import (
    InvalidConfigError,
    load_settings,
    word,
)

KEY = "inference_config.yaml"
"""The key of the ConfigMap that ``inference.config`` names."""

_VLLM = "vllm"
_PROBE_STEPS = "max_probe_steps"
_CACHE_IN_RAM = "kv_cache_cpu_memory_utilization"
_KNOWN = (_VLLM, _PROBE_STEPS, _CACHE_IN_RAM)

_MAX_MODEL_LEN = "max-model-len"
_KV_CACHE_DTYPE = "kv-cache-dtype"


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """Settings of the model server that a plan depends on."""

    #: Tokens that prompt and answer may have; None to fit them to the memory.
    max_model_len: int | None = None
    #: Of the whole content, for a pod template that changes with it; empty where
    #: there is none. Comments, order and layout do not count.
    checksum: str = ""
    #: Options of vLLM by their names without dashes before them, as written.
    vllm: Mapping[str, Any] = field(default_factory=dict)
    #: What is legal and likely not meant, as sentences for people.
    warnings: tuple[str, ...] = ()

    @property
    def kv_dtype(self) -> KvDtype:
        """How vLLM would store the cache: in all forms of fp8 it takes half."""
        asked = str(_option(self.vllm, _KV_CACHE_DTYPE))
        return "fp8" if asked.startswith("fp8") else "auto"

    @property
    def vllm_only(self) -> tuple[str, ...]:
        """The options that mean nothing to another runtime, in order."""
        return tuple(sorted(k for k in self.vllm if _plain(k) != _MAX_MODEL_LEN))


NO_CONFIG = InferenceConfig()


def parse_inference_config(text: str) -> InferenceConfig:
    """Read the text of a user's configuration.

    Raises:
        InvalidConfigError: it is none, or a setting that plans depend on is wrong.
    """
    content = load_settings(text, _KNOWN)
    vllm = content.get(_VLLM)
    vllm = {} if vllm is None else vllm
    if not isinstance(vllm, dict):
        raise InvalidConfigError(
            _VLLM, word(vllm), "write a mapping of vLLM's options, as max-model-len: 1"
        )
    _check_names(vllm)
    _check_steps(content.get(_PROBE_STEPS))
    _check_share(content.get(_CACHE_IN_RAM))
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return InferenceConfig(
        max_model_len=_max_model_len(vllm),
        checksum=hashlib.sha256(canonical.encode()).hexdigest(),
        vllm=vllm,
        warnings=(
            *_doubts(sorted(content.keys() - set(_KNOWN))),
            *_doubts_of_share(content.get(_CACHE_IN_RAM)),
        ),
    )


def _check_names(vllm: Mapping[str, Any]) -> None:
    """Refuse options that are there twice, once with dashes and once without."""
    seen: dict[str, str] = {}
    for name in vllm:
        other = seen.setdefault(_plain(name), name)
        if other != name:
            raise InvalidConfigError(
                f"{_VLLM}.{name}", f"it as {other} too", "write it once"
            )


def _max_model_len(vllm: Mapping[str, Any]) -> int | None:
    found = _option(vllm, _MAX_MODEL_LEN)
    # vLLM's two ways to ask for what we do by default.
    if found in (None, "auto", -1, "-1"):
        return None
    digits = isinstance(found, str) and found.isascii() and found.isdigit()
    if digits and len(found) < 10:  # noqa: PLR2004 - no model reads a billion tokens
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise InvalidConfigError(
            f"{_VLLM}.{_MAX_MODEL_LEN}", word(found), "write a whole number from 1"
        )
    return found


def _check_steps(found: Any) -> None:
    if found is None:
        return
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise InvalidConfigError(
            _PROBE_STEPS, word(found), "write a whole number from 0"
        )


def _check_share(found: Any) -> None:
    """0 and less switch the cache in RAM off."""
    if found is None:
        return
    if isinstance(found, bool) or not isinstance(found, int | float) or not found <= 1:
        raise InvalidConfigError(
            _CACHE_IN_RAM, word(found), "write a share of the memory, from 0 to 1"
        )


def _doubts(unknown: Sequence[str]) -> Iterator[str]:
    if not unknown:
        return
    first = unknown[0][:80]
    near = difflib.get_close_matches(first, _KNOWN, n=1)
    more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
    hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(_KNOWN)}"
    yield f"inference.config: {KEY}: {first!r}{more} is no setting; {hint}"


def _doubts_of_share(found: float | None) -> Iterator[str]:
    if found is not None and found > 0:
        yield (
            f"inference.config: {KEY}: {_CACHE_IN_RAM!r} has no effect: the cache of "
            "GPUs goes on in RAM where vllm.kv-offloading-size says for how many GiB"
        )


def _option(vllm: Mapping[str, Any], name: str) -> Any:
    """Return an option's value, however its name's words are joined."""
    return next((vllm[key] for key in vllm if _plain(key) == name), None)


def _plain(name: str) -> str:
    return name.replace("_", "-")
