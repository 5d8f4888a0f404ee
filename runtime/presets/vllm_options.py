"""The options of vLLM that a user's configuration may set: pure."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from pykaito.runtime.presets.settings_text import InvalidConfigError, word

_SECTION = "vllm"

#: Options that say what the Workspace says elsewhere, and where.
_OWNED = {
    "lora-modules": "list adapters in inference.adapters",
    "model": "name the model in inference.preset",
    "revision": "the catalogue or the hub says which commit is served",
    "served-model-name": "it follows from inference.preset.name",
}
#: Options without which neither Service nor probes would find the server.
_FIXED = frozenset({"config", "grpc", "headless", "host", "port", "uds"})
#: Switches that would take from the probes, and from the limit of requests, the
#: metrics by which they see what the engine does.
_BLINDING = frozenset({"disable-log-stats"})

#: Options that vLLM had once and KAITO's own template still sets; they are left out.
RETIRED = frozenset({"swap-space"})


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line of one version of vLLM takes."""

    version: str
    #: Options that stand alone, by their names without dashes before them.
    switches: frozenset[str]
    #: Options with a value.
    values: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """All of them."""
        return self.switches | self.values


@cache
def known_options() -> Options:
    """Return the options of the vLLM that the runtime's image holds."""
    text = files(__package__).joinpath("vllm_options.yaml").read_text()
    found = yaml.load(text, yaml.CSafeLoader)
    return Options(
        found["version"], frozenset(found["switches"]), frozenset(found["values"])
    )


def check_options(options: Mapping[str, Any]) -> None:
    """Check that vLLM has all the options, and that they may be set.

    A server that is told of one that it does not have ends at once, again and again.

    Raises:
        InvalidConfigError: it does not, or they may not.
    """
    for written, value in options.items():
        _check(written, value)


def _check(written: str, value: Any) -> None:
    name = written.partition(".")[0].replace("_", "-")
    path = f"{_SECTION}.{written}"
    if name in RETIRED:
        return
    if name in _OWNED:
        raise InvalidConfigError(path, word(value), f"leave it out; {_OWNED[name]}")
    if name in _FIXED or name.startswith("ssl-"):
        raise InvalidConfigError(
            path, word(value), "leave it out; the Service and the probes depend on it"
        )
    options = known_options()
    if name not in options.names:
        near = difflib.get_close_matches(name, options.names, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InvalidConfigError(
            path, "an option", f"vLLM {options.version} does not have it{hint}"
        )
    if name in options.switches and str(value).lower() not in {"true", "false"}:
        raise InvalidConfigError(path, word(value), "write true or false")
    if name in _BLINDING and str(value).lower() == "true":
        raise InvalidConfigError(
            path, word(value), "leave it out; the probes depend on vLLM's metrics"
        )
