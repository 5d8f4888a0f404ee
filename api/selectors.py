"""The label selector of a Workspace: Kubernetes' type, less what no node could meet.

The labels a selector asks for are also put on nodes that are made for the
Workspace, so it must be a plain map of labels: matchLabels, or matchExpressions
that say the same with the operator In and a single value.
"""

import operator
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from pykaito.api import labels
from pykaito.api.meta import ApiModel
from pykaito.api.names import LabelKey, LabelValue, are_label_keys
from pykaito.api.schema import LABEL_KEY, Rule, rules


class SelectorOperator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


REQUIREMENT_RULE = Rule(
    rule="self.operator == 'In' && has(self.values) && self.values.size() == 1",
    holds=lambda self: self["operator"] == "In" and len(self.get("values", ())) == 1,
    message="use the operator In with exactly one value",
    found="'use the operator In with exactly one value; found ' + self.key + ' ' + "
    "self.operator + (has(self.values) && self.values.size() > 1 ? ' with several "
    "values' : '')",
    says=lambda self: (
        f"use the operator In with exactly one value; found {self['key']} "
        f"{self['operator']}"
        f"{' with several values' if len(self.get('values', ())) > 1 else ''}"
    ),
)


class SelectorRequirement(ApiModel):
    """A label and the value it must have."""

    model_config = ConfigDict(json_schema_extra=rules(REQUIREMENT_RULE))

    key: LabelKey
    """The label's key."""

    operator: Annotated[SelectorOperator, Field(json_schema_extra={"maxLength": 16})]
    """In is the only operator that a Workspace accepts."""

    values: Annotated[
        tuple[LabelValue, ...],
        Field(max_length=16),
    ] = ()
    """The label's value: exactly one."""


_RESERVED = "[" + ", ".join(f"'{key}'" for key in labels.RESERVED_SELECTOR_KEYS) + "]"


def _agree(self: Mapping[str, Any]) -> bool:
    """Whether no label is asked to have two values."""
    wanted = self.get("matchLabels", {})
    return all(
        value == wanted[requirement["key"]]
        for requirement in self.get("matchExpressions", ())
        if requirement["key"] in wanted
        for value in requirement.get("values", ())
    )


def _names_own(self: Mapping[str, Any]) -> bool:
    """Whether a label is asked for that the operator does not set, or none at all."""
    keys = {
        *self.get("matchLabels", ()),
        *(requirement["key"] for requirement in self.get("matchExpressions", ())),
    }
    return not keys or not keys.issubset(labels.RESERVED_SELECTOR_KEYS)


SELECTOR_RULES = (
    Rule(
        rule="!has(self.matchLabels) || "
        f"self.matchLabels.all(k, k.matches(r'{LABEL_KEY}'))",
        holds=lambda self: are_label_keys(self.get("matchLabels", ())),
        message="a label's key is a name of at most 63 letters, digits, '-', '_' and "
        "'.', with an optional DNS name and '/' before it",
        field_path=".matchLabels",
    ),
    Rule(
        rule="!has(self.matchLabels) || !has(self.matchExpressions) || "
        "self.matchExpressions.all(e, !(e.key in self.matchLabels) || "
        "!has(e.values) || e.values.all(v, v == self.matchLabels[e.key]))",
        holds=_agree,
        message="matchLabels and matchExpressions ask for different values of one "
        "label; "
        "no node has both",
        field_path=".matchExpressions",
    ),
    Rule(
        rule="(!has(self.matchLabels) || self.matchLabels.size() == 0) && "
        "(!has(self.matchExpressions) || self.matchExpressions.size() == 0) || "
        f"has(self.matchLabels) && self.matchLabels.exists(k, !(k in {_RESERVED})) || "
        "has(self.matchExpressions) && "
        f"self.matchExpressions.exists(e, !(e.key in {_RESERVED}))",
        holds=_names_own,
        message="name a label of your own; "
        f"{', '.join(labels.RESERVED_SELECTOR_KEYS)} are set by the operator and "
        "ignored here",
    ),
    Rule(
        rule="self == oldSelf",
        holds=operator.eq,
        message="the label selector cannot be changed; make a new Workspace",
    ),
)


class LabelSelector(ApiModel):
    """Labels that a node must carry to be used.

    Nodes made for the Workspace are given them. An empty selector asks for
    nothing. It cannot be changed.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(*SELECTOR_RULES, **{"x-kubernetes-map-type": "atomic"})
    )

    match_labels: Annotated[
        dict[str, LabelValue],
        Field(max_length=32),
    ] = Field(default_factory=dict)
    """Labels and their values, all of which a node must carry."""

    match_expressions: Annotated[
        tuple[SelectorRequirement, ...], Field(max_length=16)
    ] = ()
    """The same in long form: each with the operator In and one value."""

    def as_labels(self) -> dict[str, str]:
        """Return the labels a node must carry, without those the operator sets."""
        wanted = self.match_labels | {
            requirement.key: requirement.values[0]
            for requirement in self.match_expressions
            if requirement.operator is SelectorOperator.IN and requirement.values
        }
        return {
            key: value
            for key, value in wanted.items()
            if key not in labels.RESERVED_SELECTOR_KEYS
        }
