"""The user's ``inference_config.yaml``, which the pod's environment names.

Its keys are the ones that the vLLM runtime reads. This runtime takes from it
what it has itself, and says what it leaves.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pykaito.runtime.hf.errors import shown
from pykaito.runtime.hf.flags import FlagError

CONFIG_VARIABLE = "KAITO_CONFIG_FILE"

#: The section with vLLM's options, by their names without dashes before them.
SECTION = "vllm"
LENGTH = "max-model-len"
#: What vLLM understands as the length that the model itself has.
MODELS_OWN = ("auto", "-1")
#: A number of tokens, as a number or as text.
TOKENS = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says, so far as this runtime has it."""

    #: Most tokens of prompt and answer together; None where it does not say.
    max_model_len: int | None = None
    #: The keys that change nothing here, dotted.
    unused: tuple[str, ...] = ()


def read_config_file(path: Path) -> ConfigFile:
    """Read the file.

    Raises:
        FlagError: if it cannot be read or what it says is malformed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, f"cannot be read ({error})") from None
    try:
        content = yaml.safe_load(text)
    # Impossible dates and endless numbers are ValueErrors.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _wrong(path, f"is no YAML ({error})") from None
    top = _mapping(path, "the file", content)
    options = _mapping(path, SECTION, top.get(SECTION))
    named = {str(name).replace("_", "-"): value for name, value in options.items()}
    unused = [str(name) for name in top if name != SECTION]
    unused += [f"{SECTION}.{name}" for name in named if name != LENGTH]
    return ConfigFile(
        max_model_len=_length(path, named.get(LENGTH)), unused=tuple(sorted(unused))
    )


def _mapping(path: Path, what: str, value: Any) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(path, f"{what}: found {shown(value)}, must be keys with values")
    return value


def _length(path: Path, value: Any) -> int | None:
    if value is None or str(value) in MODELS_OWN:
        return None
    if not TOKENS.fullmatch(str(value)):
        raise _wrong(
            path,
            f"{SECTION}.{LENGTH}: found {shown(value)}, must be a whole number from 1",
        )
    return int(value)


def _wrong(path: Path, what: str) -> FlagError:
    return FlagError(f"{CONFIG_VARIABLE}: {path} {what}")
