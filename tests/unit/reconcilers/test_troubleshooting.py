"""Every reason that a status can have is explained on a page or in a table."""

import re
from pathlib import Path

import pytest

from pykaito.api.conditions import (
    InferenceReason,
    NodeReason,
    TuningReason,
    WithheldReason,
    WorkspaceReason,
)
from pykaito.provisioners.errors import LaunchReason
from pykaito.provisioners.protocol import MachineReason
from pykaito.reconcilers.apply import APPLY_REFUSED, NAME_TAKEN
from pykaito.reconcilers.conditions import with_help
from pykaito.reconcilers.inference.image_volumes import NOT_SUPPORTED
from pykaito.reconcilers.inference.status import DEADLINE_EXCEEDED, PODS_REFUSED
from pykaito.reconcilers.machine.lifecycle import LifecycleReason
from pykaito.reconcilers.quota import QUOTA_EXCEEDED
from pykaito.reconcilers.workspace.status import NO_MATCHING_NODE, PROGRESSING
from pykaito.runtime.presets.plan import PlanReason

DOCS = Path(__file__).parents[3] / "docs" / "troubleshooting"
README = (DOCS / "README.md").read_text()

#: Reasons of the original for what this release does not do; none is written.
OF_OTHER_RELEASES = {
    *(reason for reason in InferenceReason if "Streaming" in reason),
    *(reason for reason in InferenceReason if "Benchmark" in reason),
    *(reason for reason in NodeReason if "Mirror" in reason),
    InferenceReason.SAS_TOKEN_FETCH_FAILED,
    InferenceReason.MODEL_MIRROR_CREATE_FAILED,
    TuningReason.STARTED,
    TuningReason.PENDING,
}
WRITTEN = {
    *InferenceReason,
    *NodeReason,
    *TuningReason,
    *WorkspaceReason,
    *WithheldReason,
    *MachineReason,
    *LaunchReason,
    *LifecycleReason,
    *PlanReason,
    *(NAME_TAKEN, APPLY_REFUSED, QUOTA_EXCEEDED, PODS_REFUSED, DEADLINE_EXCEEDED),
    *(NO_MATCHING_NODE, PROGRESSING, NOT_SUPPORTED),
} - OF_OTHER_RELEASES
PAGES = sorted(page.stem for page in DOCS.glob("*.md") if page.stem != "README")
#: What the table of reasons without a page lists.
PLAIN = set(re.findall(r"`(\w+)`", README.partition("These ask for nothing")[2]))


@pytest.mark.parametrize("reason", sorted(WRITTEN))
def test_every_reason_is_explained_on_a_page_or_in_the_table(reason: str) -> None:
    assert (reason in PAGES) != (reason in PLAIN)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_it_means_and_what_to_do(page: str) -> None:
    assert page in WRITTEN
    title, _, meaning, _, *rest = (DOCS / f"{page}.md").read_text().splitlines()
    assert title == f"# {page}"
    assert meaning.endswith(".") or rest
    assert {"## Why", "## What to do"} <= set(rest)
    _, _, remedies = "\n".join(rest).partition("## What to do")
    assert "1. " in remedies
    assert f"- [{page}]({page}.md): " in README
    assert with_help("why", page).endswith(f"/docs/troubleshooting/{page}.md)")
