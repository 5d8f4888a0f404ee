import pytest

from pykaito.api.definitions import DEFINITIONS, WORKSPACE, Definition, Version
from pykaito.api.structural import structural_schema

TABLE = [
    "INSTANCE",
    "RESOURCEREADY",
    "INFERENCEREADY",
    "JOBSTARTED",
    "WORKSPACESUCCEEDED",
    "AGE",
]


@pytest.mark.parametrize("version", WORKSPACE.versions, ids=lambda v: v.name)
def test_the_default_table_of_workspaces_is_the_one_users_know(
    version: Version,
) -> None:
    assert [c.name.upper() for c in version.columns if not c.wide] == TABLE


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.kind)
def test_objects_are_stored_in_one_version(definition: Definition) -> None:
    assert [v.storage for v in definition.versions].count(True) == 1


def test_both_versions_of_workspace_have_one_schema() -> None:
    old, new = (structural_schema(version.model) for version in WORKSPACE.versions)
    assert old == new
