"""What is wrong with an object, in the words of the API server, without asking it.

tests/e2e/crds holds the same cases, and others, to a real API server.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from pykaito.api.check import KEYWORDS
from pykaito.api.meta import ApiModel
from pykaito.api.parse import parse
from pykaito.api.schema import VALIDATIONS, Rule
from pykaito.api.v1alpha1.machine import Machine
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.api.validate import normalized, object_schema, violations
from pykaito.api.violation import Violation
from pykaito.operator.frozen import freeze
from tests.corpus.cases import Case, Object, admissions, creations, make, updates
from tests.corpus.mutations import mutations

PUBLISHED = Path(__file__).parents[2] / "e2e" / "crds" / "published_workspaces.yaml"
CASES = [*creations(), *updates()]
MODELS = (Workspace, Machine)


def found(case: Case) -> list[Violation]:
    model = Workspace if case.is_workspace else Machine
    return violations(case.obj, case.old, model=model)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_crd_refuses_has_faults_and_nothing_else_has(case: Case) -> None:
    faults = found(case)
    assert bool(faults) == bool(case.refused_by)
    if case.refused_by:
        assert any(
            fault.path == case.path and case.message in fault.message
            for fault in faults
        ), faults


@pytest.mark.parametrize("case", admissions(), ids=lambda case: case.name)
def test_what_only_the_webhook_can_know_is_no_fault_here(case: Case) -> None:
    assert violations(case.obj) == []


@pytest.mark.parametrize(
    "document",
    list(yaml.safe_load_all(PUBLISHED.read_text())),
    ids=lambda document: document["metadata"]["name"],
)
def test_a_published_workspace_has_no_fault(document: Object) -> None:
    assert violations(document) == []


@pytest.mark.parametrize("model", MODELS)
def test_every_rule_of_the_crds_is_broken_by_a_case(model: type[ApiModel]) -> None:
    said = {fault.message for case in CASES for fault in found(case)}
    for rule in _rules(object_schema(model)):
        # Words that both of a rule's messages start with.
        words = rule.message[:28]
        assert any(message.startswith(words) for message in said), rule.message


@pytest.mark.parametrize("model", MODELS)
def test_every_keyword_of_the_schemas_is_checked(model: type[ApiModel]) -> None:
    def keywords(schema: Mapping[str, Any]) -> Iterator[str]:
        yield from schema
        for child in _children(schema):
            yield from keywords(child)

    assert set(keywords(object_schema(model))) <= KEYWORDS


@settings(deadline=None)
@given(pair=mutations())
def test_what_has_no_fault_can_be_read_and_nothing_makes_the_check_fail(
    pair: tuple[Object, Object],
) -> None:
    old, obj = pair
    assert violations(old, obj) is not None
    if not violations(obj, old):
        assert violations(obj) == []
        parse(Workspace, normalized(obj))


@settings(deadline=None)
@given(pair=mutations())
def test_what_stood_before_may_stand_on(pair: tuple[Object, Object]) -> None:
    _, obj = pair
    assert violations(obj, obj) == []


def test_all_faults_are_told_at_once() -> None:
    obj = make(
        "inference",
        {
            "resource.count": 0,
            "resource.preferredNodes": ["a", "a"],
            "inference.preset.name": "a/b/c",
            "inference.adapters": [{"strength": "2"}],
        },
    )
    paths = [fault.path for fault in violations(obj)]
    assert sorted(paths) == [
        "inference.adapters[0].source",
        "inference.adapters[0].strength",
        "inference.preset.name",
        "resource.count",
        "resource.preferredNodes[1]",
    ]


def test_a_fault_of_old_does_not_hide_one_of_today() -> None:
    old = make("inference", {"resource.count": 0, "inference.config": "Mine"})
    new = make("inference", {"resource.count": 0, "inference.config": "Yours"})
    assert [fault.path for fault in violations(new, old)] == ["inference.config"]


def test_a_truth_value_is_no_number_that_stood_before() -> None:
    old = make("inference", {"resource.count": 1})
    new = make("inference", {"resource.count": True})
    assert [fault.path for fault in violations(new, old)] == ["resource.count"]


def test_an_old_value_of_another_shape_is_not_compared() -> None:
    old = make("inference", {"inference.preset": "falcon-7b"})
    assert violations(make("inference"), old) == []


@pytest.mark.parametrize(
    ("obj", "fault"),
    [
        ({}, "kind: Required value"),
        ({"kind": "Workspace"}, "metadata: Required value"),
        (make("inference", {"metadata.name": None}), "metadata.name: Required value"),
        (make("inference", {"metadata.name": ""}), "metadata.name: Required value"),
        (
            make("inference", {"metadata": "falcon"}),
            'metadata: Invalid value: "string": metadata in body must be of type',
        ),
        (
            make("inference", {"metadata.annotations": {"kaito.sh/enablelb": True}}),
            'metadata.annotations.kaito.sh/enablelb: Invalid value: "boolean": ',
        ),
        (
            make("inference", {"apiVersion": "kaito.sh/v2"}),
            'apiVersion: Unsupported value: "kaito.sh/v2": supported values: ',
        ),
    ],
)
def test_an_object_that_is_hardly_one_is_told_so(obj: Object, fault: str) -> None:
    assert any(str(violation).startswith(fault) for violation in violations(obj))


def test_the_status_is_not_its_authors() -> None:
    assert violations(make("inference", {"status": {"state": "Great"}})) == []


def test_what_a_cache_hands_out_is_checked_like_the_rest() -> None:
    obj = make("inference", {"inference.adapters": [{"strength": "2"}]})
    assert violations(freeze(obj)) == violations(obj)
    assert violations(freeze(obj), freeze(obj)) == []


def test_a_message_of_several_lines_gives_way_to_the_plain_one() -> None:
    (fault,) = violations(make("inference", {"inference.preset.name": "a\nb"}))
    assert fault.message == (
        "must be a model of the catalogue, such as falcon-7b, or of a hub, as org/name"
    )


def test_what_is_checked_is_left_as_it_was() -> None:
    obj = make("inference", {"inference.preset.accessMode": ""})
    before = json.dumps(obj)
    violations(obj, obj)
    assert json.dumps(obj) == before


def test_a_rule_with_words_for_what_was_found_has_them_in_python_too() -> None:
    with pytest.raises(TypeError, match="found and says"):
        Rule(rule="self", holds=bool, message="no", found="'no'")


def _rules(schema: Mapping[str, Any]) -> Iterator[Rule]:
    yield from schema.get(VALIDATIONS, ())
    for child in _children(schema):
        yield from _rules(child)


def _children(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from schema.get("properties", {}).values()
    yield from (
        schema[name] for name in ("items", "additionalProperties") if name in schema
    )
