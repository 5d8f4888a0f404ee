from typing import Any

import pytest

from pykaito.runtime.hf.openai_requests import sampling_options
from pykaito.runtime.hf.openai_schema import CompletionBody


def options(defaults: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    body = CompletionBody(prompt="a", **fields)
    return sampling_options(body, defaults or {})


def test_a_request_that_says_nothing_samples_as_openai_does() -> None:
    assert options() == {
        "do_sample": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
    }


@pytest.mark.parametrize("temperature", [0, 0.00001])
def test_a_temperature_of_nothing_is_greedy(temperature: float) -> None:
    assert options(temperature=temperature, top_p=0.5) == {"do_sample": False}


def test_the_models_makers_decide_what_a_request_leaves_open() -> None:
    makers = {"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.1}
    found = options(makers, top_k=5)
    assert found["temperature"] == 0.6
    assert found["repetition_penalty"] == 1.1
    assert found["top_k"] == 5


def test_a_top_k_below_one_is_none() -> None:
    assert options(top_k=-1)["top_k"] == 0


def test_min_p_is_passed_on_if_asked_for() -> None:
    assert options(min_p=0.1)["min_p"] == 0.1
    assert "min_p" not in options()
