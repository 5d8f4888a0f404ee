"""Durations read as kubectl writes them."""

import pytest

from pykaito.commands.times import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (255, "4m15s"),
        (900, "15m"),
        (3 * 3600 + 5 * 60, "3h5m"),
        (9 * 3600 + 5 * 60, "9h"),
        (2 * 86400 + 3600, "2d1h"),
        (30 * 86400, "30d"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
