import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hack.generate import docs
from hack.generate.__main__ import ROOT, main
from hack.generate.crds import custom_resource_definition
from hack.generate.described import described_schema
from pykaito.api.definitions import DEFINITIONS, Definition

CRD = Path("manifests/crds/kaito.sh_workspaces.yaml")

every_kind = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.kind)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of what is generated, as it is committed."""
    for name in ("manifests/crds", "api/schemas", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def walked(definition: Definition) -> list[docs.Field]:
    return list(docs.fields(described_schema(definition.versions[-1].model)))


def test_the_committed_files_are_up_to_date() -> None:
    assert main(["--check"]) == 0


def test_check_prints_the_difference_and_writes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = (root / CRD).read_text().replace("- wks\n", "- wkss\n")
    (root / CRD).write_text(stale)
    assert main(["--check"], root=root) == 1
    printed = capsys.readouterr()
    assert "-    - wkss\n+    - wks\n" in printed.out
    assert "make generate" in printed.err
    assert (root / CRD).read_text() == stale


def test_a_missing_file_is_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / CRD).unlink()
    assert main([], root=root) == 0
    assert (root / CRD).read_text() == (ROOT / CRD).read_text()
    assert capsys.readouterr().out == f"wrote {CRD}\n"


def test_a_table_that_there_is_not_is_an_error() -> None:
    with pytest.raises(KeyError, match="Gadget fields"):
        docs.fill("<!-- generated: Gadget fields -->\n<!-- end -->")


@every_kind
def test_every_field_explains_itself(definition: Definition) -> None:
    silent = [
        field.path
        for field in walked(definition)
        if "description" not in field.schema
        and field.path != "metadata"
        and not field.path.startswith("metadata.")
        and not field.path.endswith(("[]", "{}"))
    ]
    assert silent == []


@every_kind
def test_every_list_and_text_has_a_limit(definition: Definition) -> None:
    """Without limits the API server refuses the CRD for the cost of its rules."""

    def unlimited(schema: Mapping[str, Any]) -> bool:
        if "enum" in schema or schema.get("format") == "date-time":
            return False
        limit = {"array": "maxItems", "string": "maxLength"}
        return limit.get(schema.get("type", ""), "type") not in schema and (
            "x-kubernetes-int-or-string" not in schema
        )

    assert [f.path for f in walked(definition) if unlimited(f.schema)] == []


@every_kind
def test_status_has_a_subresource_and_conditions_are_known_by_type(
    definition: Definition,
) -> None:
    for version in custom_resource_definition(definition)["spec"]["versions"]:
        assert version["subresources"] == {"status": {}}
        schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]
        assert schema["default"] == {"observedGeneration": -1}
        conditions = schema["properties"]["conditions"]
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]
