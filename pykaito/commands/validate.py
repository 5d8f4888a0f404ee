"""``pykaito validate``: one line for each document, for pipelines."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pykaito.commands.check import RefusedError, check
from pykaito.commands.documents import Document, DocumentError, read
from pykaito.commands.failure import FAILED


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one document."""

    ok: bool
    line: str


def show(paths: Sequence[str], model_configs: Path | None = None) -> None:
    """Print a verdict on every document; exit with 1 if one is refused."""
    verdicts = [
        verdict for path in paths for verdict in verdicts_on(path, model_configs)
    ]
    for verdict in verdicts:
        print(verdict.line)  # noqa: T201 - a command's output
    if not all(verdict.ok for verdict in verdicts):
        sys.exit(FAILED)


def verdicts_on(path: str, model_configs: Path | None = None) -> Iterator[Verdict]:
    """Yield the verdict on each document of a file, or on a file without any."""
    try:
        documents = read(path)
    except DocumentError as error:
        yield _refused(error.source, error.problem)
        return
    if not documents:
        yield _refused(path, "found no document")
    for document in documents:
        yield judge(document, model_configs)


def judge(document: Document, model_configs: Path | None = None) -> Verdict:
    """Say whether a document would be taken; other kinds are passed over."""
    if not document.is_workspace:
        kind = document.obj["kind"]
        return Verdict(ok=True, line=f"{document.source}: passed over: {kind}")
    try:
        workspace, planned = check(document.obj, model_configs)
    except RefusedError as error:
        return _refused(document.source, str(error))
    return Verdict(
        ok=True,
        line=f"{document.source}: ok: Workspace {workspace.metadata.name}, "
        f"{planned.server.preset.name if planned.server else 'own template'}, "
        f"nodes: {planned.nodes}, GPUs on each: {planned.gpus_per_node}",
    )


def _refused(source: str, why: str) -> Verdict:
    return Verdict(ok=False, line=f"{source}: refused: {' '.join(why.split())}")
