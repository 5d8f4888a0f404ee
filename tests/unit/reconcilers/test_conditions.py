"""Conditions are merged with what is written, as metav1.Condition wants it."""

from datetime import UTC, datetime

import pytest

from pykaito.reconcilers.conditions import DOCS, Condition, changed, merge, with_help

BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 2, 2, tzinfo=UTC)


def test_the_transition_time_stays_while_the_status_does() -> None:
    first = merge([], [Condition("Ready", "False", "A")], generation=1, now=BEFORE)
    second = merge(first, [Condition("Ready", "False", "B")], generation=2, now=NOW)
    assert second[0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert second[0]["observedGeneration"] == 2


def test_the_transition_time_moves_with_the_status() -> None:
    first = merge([], [Condition("Ready", "False", "A")], generation=1, now=BEFORE)
    second = merge(first, [Condition("Ready", "True", "B")], generation=1, now=NOW)
    assert second[0]["lastTransitionTime"] == "2026-02-02T00:00:00Z"


def test_a_new_message_alone_is_no_turn_of_the_story() -> None:
    first = merge(
        [], [Condition("Ready", "False", "A", "1 of 2")], generation=1, now=NOW
    )
    second = merge(
        first, [Condition("Ready", "False", "A", "2 of 2")], generation=1, now=NOW
    )
    assert changed(first, second) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "pod x-79d4c8bb4-x2x7q ended (restarts: 1)",
            "pod x-6b8f9c-abcde ended (restarts: 20)",
        ),
        ("0/2 nodes are available", "0/3 nodes are available"),
        (
            "pod x is downloading the weights: 9 % (1.1 of 9.0 GB, 99.5 MB/s)",
            "pod x is downloading the weights: 90 % (9.0 of 9.0 GB, 1 GB/s, 9 s left)",
        ),
    ],
)
def test_another_try_is_no_turn_of_the_story(before: str, after: str) -> None:
    first = merge([], [Condition("R", "False", "A", before)], generation=1, now=NOW)
    second = merge([], [Condition("R", "False", "A", after)], generation=1, now=NOW)
    assert changed(first, second) == []


def test_another_cause_of_the_same_failure_is_a_turn_of_the_story() -> None:
    first = merge([], [Condition("R", "False", "A", "no a")], generation=1, now=NOW)
    second = merge([], [Condition("R", "False", "A", "no b")], generation=1, now=NOW)
    assert changed(first, second) == second


def test_more_to_say_of_what_goes_well_is_no_turn_of_the_story() -> None:
    first = merge([], [Condition("R", "True", "A", "fine")], generation=1, now=NOW)
    second = merge([], [Condition("R", "True", "A", "fine; x")], generation=1, now=NOW)
    assert changed(first, second) == []


def test_a_long_message_keeps_the_address_of_its_page() -> None:
    told = with_help("x" * 5000, "NameTaken")
    assert len(told) == 1024
    assert told.endswith("x... (" + DOCS + "/NameTaken.md)")


def test_a_message_is_cut_to_what_a_terminal_shows() -> None:
    condition = Condition("Ready", "False", "A", "x" * 5000)
    assert len(merge([], [condition], generation=1, now=NOW)[0]["message"]) == 1024
