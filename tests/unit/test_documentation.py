"""Links lead somewhere, Workspaces can be applied, and every metric is named."""

import re
from pathlib import Path
from typing import Any

import pytest

from hack import paths
from tests.unit.cli.command import pykaito

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "hack/**/*.md")
    for path in paths.ROOT.glob(pattern)
)
MONITORING = paths.ROOT / "docs" / "monitoring.md"
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(paths.ROOT))


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return what GitHub makes of the page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith("http"):
            path, _, anchor = target.partition("#")
            found = page.parent / path if path else page
            assert found.exists(), target
            assert not anchor or anchor in anchors(found), target


def workspaces() -> list[Any]:
    return [
        pytest.param(text, id=f"{name(page)}-{number}")
        for page in PAGES
        for number, (_, language, text) in enumerate(FENCED.findall(page.read_text()))
        if language == "yaml" and "kind: Workspace" in text
    ]


@pytest.mark.parametrize("text", workspaces())
def test_a_workspace_that_is_shown_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "workspace.yaml"
    path.write_text(text)
    done = pykaito("validate", str(path))
    assert done.exit_code == 0, done.output
    assert "warning" not in done.output


METRIC = re.compile(
    r'"((?:kaito|controller_runtime|workqueue|rest_client|certwatcher|leader_election)'
    r'_[a-z_]+)"'
)


def metrics() -> set[str]:
    folders = ("operator", "reconcilers", "provisioners", "runtime")
    return {
        found
        for folder in folders
        for path in (paths.ROOT / folder).glob("**/*.py")
        for found in METRIC.findall(path.read_text())
    }


@pytest.mark.parametrize("metric", sorted(metrics()))
def test_every_metric_is_documented(metric: str) -> None:
    assert re.search(rf"`{metric}(_total)?[`{{]", MONITORING.read_text())
