"""Quantities are compared as numbers, whatever they are written in."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykaito.api.quantity import format_cores, format_memory, parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("8", "8"),
        ("500m", "0.5"),
        ("16Gi", str(16 * 2**30)),
        ("1.5k", "1500"),
        ("1e3", "1000"),
        ("2E", str(2 * 10**18)),
        ("12E2", "1200"),
    ],
)
def test_a_quantity_is_the_number_it_stands_for(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Gi", "4 Gi", "4Gb", "one", "1e999"])
def test_what_is_no_quantity_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 2, 500m or 16Gi"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1, "1Mi"),
        (3500 * 2**20, "3500Mi"),
        (2048 * 2**20, "2Gi"),
        (5 * 2**40, "5Ti"),
        (2048 * 2**40, "2Pi"),
    ],
)
def test_memory_is_written_as_the_api_server_does(size: int, text: str) -> None:
    assert format_memory(size) == text


@given(st.integers(1, 2**55))
def test_written_memory_holds_what_it_was_made_from(size: int) -> None:
    written = parse_quantity(format_memory(size))
    assert size <= written < size + 2**20


@pytest.mark.parametrize(("millicores", "text"), [(1000, "1"), (3955, "3955m")])
def test_cores_are_written_as_the_api_server_does(millicores: int, text: str) -> None:
    assert format_cores(millicores) == text
