"""LoRA adapters of an inference Workspace."""

from typing import Annotated

from pydantic import Field

from pykaito.api.meta import ApiModel
from pykaito.api.schema import DNS_SUBDOMAIN, Rule, rules
from pykaito.api.v1beta1.data import DataSource

_ADAPTER_NAME = (
    "an adapter needs a name of at most 63 lower-case letters, digits, - and ., with a "
    "letter or digit at both ends of each part"
)

ADAPTER_SOURCE_RULES = (
    Rule(
        "has(self.name) && self.name.size() <= 63 && "
        f"self.name.matches(r'{DNS_SUBDOMAIN}')",
        _ADAPTER_NAME,
        found=f"'{_ADAPTER_NAME}; found ' + (has(self.name) ? self.name : 'none')",
        field_path=".name",
    ),
    Rule(
        "!has(self.urls) || self.urls.size() == 0",
        "an adapter cannot be loaded from URLs; use image or volumeSource",
        field_path=".urls",
    ),
    Rule(
        "has(self.image) != has(self.volumeSource)",
        "set exactly one of image and volumeSource",
        found="'set exactly one of image and volumeSource; found ' + (has(self.image) "
        "? 'both' : 'neither')",
    ),
)

STRENGTH_RULE = Rule(
    "self.matches(r'^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?$') && "
    "double(self) <= 1.0",
    "strength must be a decimal number from 0 to 1, in quotes",
    found="'strength must be a decimal number from 0 to 1; found ' + self",
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
    """How much of the adapter to mix in, from "0" to "1"; all of it where absent. The
    transformers runtime only."""


ADAPTERS_RULE = Rule(
    # As container names a dot becomes a dash, so the two are one character here.
    "self.all(a, !has(a.source.name) || self.exists_one(b, has(b.source.name) && "
    "b.source.name.replace('.', '-') == a.source.name.replace('.', '-')))",
    "adapters need different names ('.' and '-' count as the same)",
)
