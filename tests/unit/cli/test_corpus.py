"""Every Workspace that must not be created is refused offline too, and told why."""

import pytest

from pykaito.commands.check import RefusedError, check
from pykaito.commands.documents import Document
from pykaito.commands.surroundings import surroundings
from tests.corpus.cases import Case, admissions, invalid_workspaces

INVALID = invalid_workspaces()
TAKEN = [case for case in admissions() if not case.refused_by]


def judge(case: Case) -> None:
    documents = [Document("file", obj) for obj in (*case.beside, case.obj)]
    check(case.obj, surroundings(documents, "default", None))


def test_there_are_enough_of_them() -> None:
    assert len(INVALID) >= 150
    assert len({case.name for case in INVALID}) == len(INVALID)


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.name)
def test_is_refused_with_path_and_remedy(case: Case) -> None:
    with pytest.raises(RefusedError) as caught:
        judge(case)
    assert any(
        f": {case.path}: " in fault and case.message in fault
        for fault in caught.value.faults
    ), caught.value.faults


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.name)
def test_is_taken(case: Case) -> None:
    judge(case)
