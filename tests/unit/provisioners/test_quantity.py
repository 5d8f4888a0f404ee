"""Quantities are compared as numbers, whatever they are written in."""

from decimal import Decimal

import pytest

from pykaito.provisioners.quantity import parse_quantity


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


@pytest.mark.parametrize("text", ["", "Gi", "4 Gi", "4Gb", "one"])
def test_what_is_no_quantity_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 2, 500m or 16Gi"):
        parse_quantity(text)
