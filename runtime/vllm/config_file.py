"""The user's ``inference_config.yaml``: options for vLLM's command line.

The operator has checked the same text before it made the pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pykaito.runtime.hf.errors import shown
from pykaito.runtime.hf.flags import FlagError

CONFIG_VARIABLE = "KAITO_CONFIG_FILE"

#: The section with vLLM's options, by their names without dashes before them.
SECTION = "vllm"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says."""

    #: Options by their names, as written.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Other keys, which change nothing.
    unused: tuple[str, ...] = ()


def read_config_file(path: Path) -> ConfigFile:
    """Read the file.

    Raises:
        FlagError: if it cannot be read or is malformed.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, f"cannot be read ({error})") from None
    # Impossible dates and endless numbers are ValueErrors.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _wrong(path, f"is no YAML ({error})") from None
    top = _mapping(path, "the file", content)
    options = _mapping(path, SECTION, top.get(SECTION))
    return ConfigFile(
        options={str(name): value for name, value in options.items()},
        unused=tuple(sorted(str(name) for name in top if name != SECTION)),
    )


def _mapping(path: Path, what: str, value: Any) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(path, f"{what}: found {shown(value)}, must be keys with values")
    return value


def _wrong(path: Path, what: str) -> FlagError:
    return FlagError(f"{CONFIG_VARIABLE}: {path} {what}")
