"""What the API server refuses by the CRD alone, and that our own rules say the same.

The twins of the CRD's rules serve where no API server is asked; these tests hold
them to it, case by case and on Workspaces that nobody thought of.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from pykaito.api.v1alpha1.machine import Machine
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.api.validate import violations
from pykaito.api.violation import Violation
from tests.corpus.cases import Case, Object, creations, updates
from tests.corpus.mutations import mutations
from tests.e2e.crds.schema_server import SchemaServer, says, schema_server


@pytest.fixture(scope="module")
def server(kubectl: Callable[..., Any], kubeconfig: Path) -> Iterator[SchemaServer]:
    with schema_server(kubectl, kubeconfig) as server:
        yield server


@pytest.mark.parametrize("case", [*creations(), *updates()], ids=lambda case: case.name)
def test_the_api_server_says_what_is_expected_and_so_do_the_twins(
    server: SchemaServer, case: Case
) -> None:
    refusals = server.refusals(case.obj, case.old)
    model = Workspace if case.is_workspace else Machine
    ours = violations(case.obj, case.old, model=model)
    assert bool(refusals) == bool(case.refused_by) == bool(ours)
    for found in (refusals, ours) if case.refused_by else ():
        assert any(
            fault.path == case.path and case.message in fault.message for fault in found
        ), found
    for refusal in refusals:
        assert any(says(refusal, violation) for violation in ours), refusal


ANY = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@settings(ANY, max_examples=250)
@given(pair=mutations())
def test_of_any_workspace_the_api_server_and_the_twins_blame_the_same_fields(
    server: SchemaServer, pair: tuple[Object, Object]
) -> None:
    _, obj = pair
    agree(server.refusals(obj), violations(obj))


@settings(ANY, max_examples=100)
@given(pair=mutations())
def test_of_any_update_the_api_server_and_the_twins_blame_the_same_fields(
    server: SchemaServer, pair: tuple[Object, Object]
) -> None:
    old, obj = pair
    agree(server.refusals(obj, old), violations(obj, old))


def agree(refusals: list[Violation], ours: list[Violation]) -> None:
    assert bool(refusals) == bool(ours), (refusals, ours)
    # Where a shape is wrong the twins say more: they evaluate the rules of the rest.
    assert {fault.path for fault in refusals} <= {fault.path for fault in ours}
