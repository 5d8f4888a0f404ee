"""Which changes are worth a reconcile."""

from typing import Any

import pytest

from pykaito.operator.predicates import (
    Predicate,
    annotations_changed,
    any_of,
    deletion_changed,
    finalizers_changed,
    generation_changed,
    labels_changed,
)

ALL = [
    generation_changed,
    labels_changed,
    annotations_changed,
    deletion_changed,
    finalizers_changed,
]


def obj(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "generation": 1} | metadata}


@pytest.mark.parametrize("predicate", ALL)
def test_what_is_new_or_gone_always_passes(predicate: Predicate) -> None:
    assert predicate(None, obj())
    assert predicate(obj(), None)


@pytest.mark.parametrize("predicate", ALL)
def test_a_change_of_status_does_not_pass(predicate: Predicate) -> None:
    before = obj(resourceVersion="1") | {"status": {"ready": False}}
    after = obj(resourceVersion="2") | {"status": {"ready": True}}
    assert not predicate(before, after)


@pytest.mark.parametrize(
    ("predicate", "change"),
    [
        (generation_changed, {"generation": 2}),
        (labels_changed, {"labels": {"a": "b"}}),
        (annotations_changed, {"annotations": {"a": "b"}}),
        (deletion_changed, {"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        (finalizers_changed, {"finalizers": ["kaito.sh/machine"]}),
    ],
)
def test_each_predicate_passes_its_own_change_both_ways_and_no_other(
    predicate: Predicate, change: dict[str, Any]
) -> None:
    for other in ALL:
        assert other(obj(), obj(**change)) == (other is predicate)
        assert other(obj(**change), obj()) == (other is predicate)


def test_an_empty_map_equals_an_absent_one() -> None:
    assert not labels_changed(obj(labels={}), obj())


def test_any_of_passes_what_one_of_them_passes() -> None:
    either = any_of(generation_changed, labels_changed)
    assert either(obj(), obj(generation=2))
    assert either(obj(), obj(labels={"a": "b"}))
    assert not either(obj(), obj(annotations={"a": "b"}))
