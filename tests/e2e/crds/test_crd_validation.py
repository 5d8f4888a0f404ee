"""What the API server refuses, by the CRD alone, and how it says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tenacity import retry, retry_if_result, stop_after_attempt

Case = dict[str, Any]

HERE = Path(__file__).parent
CREATIONS = yaml.safe_load((HERE / "creations.yaml").read_text())
UPDATES = yaml.safe_load((HERE / "updates.yaml").read_text())


def cases(of: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=case["it"]) for case in of]
    )


#: What an operator that writes the status meanwhile makes the API server say.
MODIFIED = "the object has been modified"


@pytest.fixture
def create(
    kubectl: Callable[..., Any], make: Callable[..., Case]
) -> Callable[[Case], str]:
    """Try to create an object; return why it was refused, nothing if it was not."""

    def create(case: Case) -> str:
        document = json.dumps(make(case["sort"], case["change"]))
        command = ("create", "--dry-run=server", "-f", "-")
        done = kubectl(*command, stdin=document, check=False)
        return done.stderr if done.returncode else ""

    return create


@pytest.fixture
def update(
    kubectl: Callable[..., Any], make: Callable[..., Case], namespace: str
) -> Callable[[Case], str]:
    """Store an object, then try to replace it; return why that was refused."""

    def update(case: Case) -> str:
        old = json.dumps(make(case["sort"], case["stored"]))
        new = json.dumps(make(case["sort"], case["change"]))
        kubectl("create", "-n", namespace, "-f", "-", stdin=old)
        return replace(new)

    @retry(
        stop=stop_after_attempt(20), retry=retry_if_result(lambda why: MODIFIED in why)
    )
    def replace(new: str) -> str:
        command = ("replace", "--dry-run=server", "-n", namespace, "-f", "-")
        done = kubectl(*command, stdin=new, check=False)
        return done.stderr if done.returncode else ""

    return update


@cases(CREATIONS["refused"])
def test_refuses_and_names_the_field_and_what_would_be_right(
    create: Callable[[Case], str], case: Case
) -> None:
    refusal = create(case)
    assert f"{case['field']}: " in refusal
    assert case["says"] in refusal


@cases(CREATIONS["accepted"])
def test_accepts(create: Callable[[Case], str], case: Case) -> None:
    assert create(case) == ""


@cases(UPDATES["refused"])
def test_refuses_to_change(update: Callable[[Case], str], case: Case) -> None:
    refusal = update(case)
    assert f"{case['field']}: " in refusal
    assert case["says"] in refusal


@cases(UPDATES["accepted"])
def test_lets_change(update: Callable[[Case], str], case: Case) -> None:
    assert update(case) == ""
