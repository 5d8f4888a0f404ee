"""What a ConfigMap says to a model server or a tuning job, or why not: pure."""

import json
from dataclasses import dataclass

import yaml

from pykaito.operator.objects import Key, Object
from pykaito.reconcilers.inference.manifests.config import ConfigFile
from pykaito.runtime.presets import tuning_config
from pykaito.runtime.presets.inference_config import (
    KEY,
    InferenceConfig,
    parse_inference_config,
)
from pykaito.runtime.presets.plan import PlanError, PlanReason
from pykaito.runtime.presets.settings_text import InvalidConfigError, word
from pykaito.runtime.presets.tuning_config import TrainingConfig

FIELD = "inference.config"
TUNING_FIELD = "tuning.config"

#: The content of settings that set nothing.
EMPTY = "{}"


@dataclass(frozen=True, slots=True)
class Config:
    """Settings, as a plan reads them and as a pod gets them."""

    settings: InferenceConfig
    file: ConfigFile


def read_config(found: Object, at: Key, named: str) -> Config:
    """Return the settings in a ConfigMap.

    Args:
        found: the ConfigMap.
        at: where it is.
        named: its name in the Workspace; empty where it is the operator's default.

    Raises:
        PlanError: it lacks the key, or holds no settings.
    """
    text = _text(found, at, FIELD, KEY)
    try:
        settings = parse_inference_config(text)
    except InvalidConfigError as error:
        raise _invalid(at, FIELD, KEY, error) from None
    # Without what does not count, such as comments.
    loaded = yaml.load(text, yaml.CSafeLoader)
    content = json.dumps(loaded, sort_keys=True) if loaded else EMPTY
    return Config(settings, ConfigFile(named, content, settings.checksum))


def read_training_config(found: Object, at: Key, method: str) -> TrainingConfig:
    """Return the parameters of a tuning job in a ConfigMap.

    Args:
        found: the ConfigMap.
        at: where it is.
        method: of the tuning job.

    Raises:
        PlanError: it lacks the key, or holds no parameters.
    """
    key = tuning_config.KEY
    text = _text(found, at, TUNING_FIELD, key)
    try:
        return tuning_config.parse_training_config(text, method)
    except InvalidConfigError as error:
        raise _invalid(at, TUNING_FIELD, key, error) from None


def not_found(at: Key, field: str = FIELD, key: str = KEY) -> PlanError:
    """Return what is said of a ConfigMap that is not there."""
    return PlanError(
        PlanReason.CONFIG_NOT_FOUND,
        f"{field}: there is no ConfigMap {at.name} in namespace {at.namespace}; create "
        f"it: kubectl -n {at.namespace} create configmap {at.name} --from-file={key}",
    )


def _text(found: Object, at: Key, field: str, key: str) -> str:
    """Return what a ConfigMap has under a key.

    Raises:
        PlanError: nothing, or no text.
    """
    data = found.get("data") or {}
    if key not in data:
        names = ", ".join(sorted([*data, *(found.get("binaryData") or ())])) or "none"
        raise PlanError(
            PlanReason.CONFIG_KEY_MISSING,
            f"{field}: ConfigMap {at} has no key {key}, found {names}; write it anew: "
            f"kubectl -n {at.namespace} create configmap {at.name} --from-file={key} "
            "--dry-run=client -o yaml | kubectl replace -f -",
        )
    text = data[key]
    if not isinstance(text, str):
        # Only of a file: the API server stores no other.
        raise PlanError(
            PlanReason.CONFIG_INVALID,
            f"{field}: ConfigMap {at}: {key}: found {word(text)}; write it as text, "
            f"after {key}: |",
        )
    return text


def _invalid(at: Key, field: str, key: str, error: InvalidConfigError) -> PlanError:
    return PlanError(
        PlanReason.CONFIG_INVALID,
        f"{field}: ConfigMap {at}: {key}: {error} (kubectl -n {at.namespace} edit "
        f"configmap {at.name})",
    )
