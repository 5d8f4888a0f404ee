"""Names of other objects, as fields of the API."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from pykaito.api.schema import (
    DNS_SUBDOMAIN,
    LABEL_KEY,
    LABEL_VALUE,
    Matching,
    matches,
)

ObjectName = Annotated[
    str,
    Field(max_length=253),
    Matching(
        DNS_SUBDOMAIN,
        "be lower-case letters, digits, - and ., with a letter or digit first and last",
    ),
]
"""The name of a Node, ConfigMap or Secret."""

LabelValue = Annotated[
    str,
    Field(max_length=63),
    Matching(
        LABEL_VALUE,
        "be letters, digits, -, _ and ., with a letter or digit first and last",
    ),
]
"""The value of a label; it may be empty."""

LabelKey = Annotated[
    str,
    Field(max_length=317),
    Matching(
        LABEL_KEY,
        "be at most 63 letters, digits, -, _ and ., after an optional DNS name and /",
    ),
]
"""The key of a label or taint, such as example.com/pool."""


def are_label_keys(keys: Iterable[str]) -> bool:
    """Whether each of the keys may be a label's."""
    return all(matches(LABEL_KEY, key) for key in keys)


InstanceType = LabelValue
"""A cloud's name for a size of machine; nodes carry it as a label."""

Image = Annotated[
    str,
    Field(max_length=512),
    Matching(r"^\S+$", "be an image without spaces, such as registry/name:tag"),
]
"""A container image.

Registries differ in what they accept, so only spaces are refused here; what the
kubelet says of the rest becomes a condition.
"""

PushSecret = Annotated[str, Field(min_length=1, max_length=253)]
"""A Secret's name, unchecked: published examples hold placeholders in capitals."""
