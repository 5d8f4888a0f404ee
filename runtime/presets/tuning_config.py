"""What a user's ``training_config.yaml`` says, checked: pure.

Sections and keys are those of the tuning job: a section for each class that it is
made of, and the class's own parameters in it.
"""

import difflib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pykaito.runtime.presets.settings_text import (
    InvalidConfigError,
    load_settings,
    word,
)

KEY = "training_config.yaml"
"""The key of the ConfigMap that ``tuning.config`` names."""

ROOT = "training_config"

SECTIONS = (
    "ModelConfig",
    "QuantizationConfig",
    "LoraConfig",
    "TrainingArguments",
    "DatasetConfig",
    "DataCollator",
)

#: Where the volume of the results is mounted.
MOUNT = "/mnt"
DEFAULT_OUTPUT = f"{MOUNT}/results"

_BITS = ("load_in_4bit", "load_in_8bit")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Parameters of a tuning job."""

    #: By section and name, as written.
    sections: Mapping[str, Mapping[str, Any]]
    #: Where the tuned weights are written: a folder below `MOUNT`.
    output: str


def parse_training_config(text: str, method: str) -> TrainingConfig:
    """Read the text of a user's parameters.

    Args:
        text: of the key `KEY`.
        method: lora or qlora, in any case.

    Raises:
        InvalidConfigError: it is none, or a parameter contradicts the method or
            would lose the result; the message has its path and what is right.
    """
    content = load_settings(text, [ROOT])
    if unknown := sorted(content.keys() - {ROOT}):
        raise InvalidConfigError("", repr(unknown[0]), f"write all below {ROOT}")
    if ROOT not in content:
        raise InvalidConfigError("", f"no {ROOT}", f"write all below {ROOT}")
    sections = _mapping(content[ROOT], ROOT)
    for name in sections:
        if name not in SECTIONS:
            near = difflib.get_close_matches(name, SECTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(SECTIONS)}"
            raise InvalidConfigError(f"{ROOT}.{name}", "no section of it", hint)
    read = {name: _mapping(sections[name], f"{ROOT}.{name}") for name in sections}
    _check_bits(read.get("QuantizationConfig", {}), method.lower())
    _check_split(read.get("DatasetConfig", {}))
    return TrainingConfig(read, _output(read.get("TrainingArguments", {})))


def _check_bits(quantization: Mapping[str, Any], method: str) -> None:
    """Check that weights are loaded in few bits where the method says so alone."""
    section = f"{ROOT}.QuantizationConfig"
    for name in _BITS:
        found = quantization.get(name)
        if not isinstance(found, bool | None):
            raise InvalidConfigError(
                f"{section}.{name}", word(found), "write true or false"
            )
    asked = [name for name in _BITS if quantization.get(name)]
    if len(asked) > 1:
        raise InvalidConfigError(
            section, f"{' and '.join(asked)}", "set one of them to true, not both"
        )
    if method == "lora" and asked:
        raise InvalidConfigError(
            f"{section}.{asked[0]}",
            "True",
            "the method lora tunes unquantised weights; set it to false, or "
            "tuning.method to qlora",
        )
    if method == "qlora" and not asked:
        raise InvalidConfigError(
            section,
            f"neither {' nor '.join(_BITS)}",
            "the method qlora tunes quantised weights; set one of them to true, or "
            "tuning.method to lora",
        )


def _check_split(dataset: Mapping[str, Any]) -> None:
    found = dataset.get("train_test_split")
    if found is None:
        return
    number = isinstance(found, int | float) and not isinstance(found, bool)
    if not number or not 0 < found <= 1:
        raise InvalidConfigError(
            f"{ROOT}.DatasetConfig.train_test_split",
            word(found),
            "write the share to train on, above 0 and at most 1",
        )


def _output(arguments: Mapping[str, Any]) -> str:
    """Return the folder of the results, which must be on their volume."""
    found = arguments.get("output_dir", DEFAULT_OUTPUT)
    path = posixpath.normpath(posixpath.join(MOUNT, str(found)))
    if not isinstance(found, str) or not path.startswith(f"{MOUNT}/"):
        raise InvalidConfigError(
            f"{ROOT}.TrainingArguments.output_dir",
            word(found),
            f"name a folder below {MOUNT}, such as {DEFAULT_OUTPUT}; what is written "
            "elsewhere is lost with the pod",
        )
    return path


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidConfigError(path, word(value), "write names and values")
    return value
