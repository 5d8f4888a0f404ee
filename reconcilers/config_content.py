"""What a ConfigMap says to a model server, or why it says nothing: pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from pykaito.operator.objects import Key, Object
from pykaito.reconcilers.inference.manifests.config import ConfigFile
from pykaito.runtime.presets.inference_config import (
    KEY,
    InferenceConfig,
    InvalidConfigError,
    parse_inference_config,
)
from pykaito.runtime.presets.plan import PlanError, PlanReason

FIELD = "inference.config"

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
    data = found.get("data") or {}
    if KEY not in data:
        raise _key_missing(at, [*data, *(found.get("binaryData") or ())])
    text = data[KEY]
    try:
        settings = parse_inference_config(text)
    except InvalidConfigError as error:
        raise PlanError(
            PlanReason.CONFIG_INVALID,
            f"{FIELD}: ConfigMap {at}: {error} (kubectl -n {at.namespace} edit "
            f"configmap {at.name})",
        ) from None
    # Without what does not count, such as comments.
    loaded = yaml.load(text, yaml.CSafeLoader)
    content = json.dumps(loaded, sort_keys=True) if loaded else EMPTY
    return Config(settings, ConfigFile(named, content, settings.checksum))


def not_found(at: Key) -> PlanError:
    """Return what is said of a ConfigMap that is not there."""
    return PlanError(
        PlanReason.CONFIG_NOT_FOUND,
        f"{FIELD}: there is no ConfigMap {at.name} in namespace {at.namespace}; create "
        f"it: kubectl -n {at.namespace} create configmap {at.name} --from-file={KEY}",
    )


def _key_missing(at: Key, keys: Iterable[str]) -> PlanError:
    found = ", ".join(sorted(keys)) or "none"
    return PlanError(
        PlanReason.CONFIG_KEY_MISSING,
        f"{FIELD}: ConfigMap {at} has no key {KEY}, found {found}; write it anew: "
        f"kubectl -n {at.namespace} create configmap {at.name} --from-file={KEY} "
        "--dry-run=client -o yaml | kubectl replace -f -",
    )
