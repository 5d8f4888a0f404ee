import pytest

from pykaito.api.definitions import DEFINITIONS, Definition, Version
from pykaito.api.schema import Rule, find_rule
from pykaito.api.schemas import read_schema
from pykaito.api.structural import structural_schema

every_version = pytest.mark.parametrize(
    ("definition", "version"),
    [(kind, version) for kind in DEFINITIONS for version in kind.versions],
    ids=lambda part: getattr(part, "kind", None) or part.name,
)


@every_version
def test_what_is_read_of_a_kind_is_what_its_model_makes(
    definition: Definition, version: Version
) -> None:
    assert read_schema(definition.kind) == structural_schema(version.model)


def test_a_rule_is_found_by_its_words() -> None:
    rule = Rule(
        rule="self != 'x'",
        holds=lambda value: value != "x",
        message="must not be x",
        found="'must not be ' + self",
        says=lambda value: f"must not be {value}",
    )
    assert find_rule(rule.as_schema()) is rule


def test_a_rule_that_no_model_has_is_named_with_what_to_run() -> None:
    with pytest.raises(LookupError, match=r"self == 'gone'.*make generate"):
        find_rule({"rule": "self == 'gone'", "message": "no"})
