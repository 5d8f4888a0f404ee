"""LoRA adapters of an inference Workspace."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from pykaito.api.meta import ApiModel
from pykaito.api.schema import DNS_SUBDOMAIN, Rule, matches, rules
from pykaito.api.v1beta1.data import DataSource

_ADAPTER_NAME = (
    "an adapter needs a name of at most 63 lower-case letters, digits, - and ., with a "
    "letter or digit at both ends of each part"
)

ADAPTER_SOURCE_RULES = (
    Rule(
        rule="has(self.name) && self.name.size() <= 63 && "
        f"self.name.matches(r'{DNS_SUBDOMAIN}')",
        holds=lambda self: (
            len(self.get("name", "")) <= 63  # noqa: PLR2004 - a label's longest value
            and matches(DNS_SUBDOMAIN, self.get("name", ""))
        ),
        message=_ADAPTER_NAME,
        found=f"'{_ADAPTER_NAME}; found ' + (has(self.name) ? self.name : 'none')",
        says=lambda self: f"{_ADAPTER_NAME}; found {self.get('name', 'none')}",
        field_path=".name",
    ),
    Rule(
        rule="!has(self.urls) || self.urls.size() == 0",
        holds=lambda self: not self.get("urls"),
        message="an adapter cannot be loaded from URLs; use image or volumeSource",
        field_path=".urls",
    ),
    Rule(
        rule="has(self.image) != has(self.volumeSource)",
        holds=lambda self: ("image" in self) != ("volumeSource" in self),
        message="set exactly one of image and volumeSource",
        found="'set exactly one of image and volumeSource; found ' + (has(self.image) "
        "? 'both' : 'neither')",
        says=lambda self: (
            "set exactly one of image and volumeSource; found "
            f"{'both' if 'image' in self else 'neither'}"
        ),
    ),
)

_DECIMAL = "^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,2})?$"

STRENGTH_RULE = Rule(
    rule=f"self.matches(r'{_DECIMAL}') && double(self) <= 1.0",
    holds=lambda self: matches(_DECIMAL, self) and float(self) <= 1,
    message="strength must be a decimal number from 0 to 1, in quotes",
    found="'strength must be a decimal number from 0 to 1; found ' + self",
    says=lambda self: f"strength must be a decimal number from 0 to 1; found {self}",
)


class Adapter(ApiModel):
    """LoRA weights to load on top of the model."""

    source: Annotated[DataSource, Field(json_schema_extra=rules(*ADAPTER_SOURCE_RULES))]
    """Where the adapter comes from, and the name to ask for it by."""

    strength: (
        Annotated[
            str,
            Field(min_length=1, max_length=32, json_schema_extra=rules(STRENGTH_RULE)),
        ]
        | None
    ) = None
    """How much of the adapter to mix in, from "0" to "1"; all of it where absent.
    A request that names the adapter is served by it alone; under the model's own name
    transformers serves all adapters in one model, and vLLM none."""


def _differ(self: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no two adapters would become one container."""
    names = [
        adapter["source"]["name"].replace(".", "-")
        for adapter in self
        if "name" in adapter["source"]
    ]
    return len(set(names)) == len(names)


ADAPTERS_RULE = Rule(
    # As container names a dot becomes a dash, so the two are one character here.
    rule="self.all(a, !has(a.source.name) || self.exists_one(b, has(b.source.name) && "
    "b.source.name.replace('.', '-') == a.source.name.replace('.', '-')))",
    holds=_differ,
    message="adapters need different names ('.' and '-' count as the same)",
)
