"""What holds for every test of the command line."""

import pytest


@pytest.fixture(autouse=True)
def plain_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare what is printed without colours, even where the tests' own are forced."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
