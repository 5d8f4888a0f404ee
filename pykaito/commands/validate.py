"""``pykaito validate``: a line for each document and each fault, for pipelines."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pykaito.commands.check import RefusedError, check
from pykaito.commands.documents import Document, DocumentError, read
from pykaito.commands.failure import FAILED
from pykaito.commands.surroundings import Surroundings, surroundings
from pykaito.runtime.presets.plan import Plan


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one document."""

    ok: bool
    lines: tuple[str, ...]


def show(
    paths: Sequence[str], namespace: str = "default", model_configs: Path | None = None
) -> None:
    """Print a verdict on every document; exit with 1 if one is refused."""
    verdicts = list(verdicts_on(paths, namespace, model_configs))
    for verdict in verdicts:
        print(*verdict.lines, sep="\n")  # noqa: T201 - a command's output
    if not all(verdict.ok for verdict in verdicts):
        sys.exit(FAILED)


def verdicts_on(
    paths: Sequence[str], namespace: str, model_configs: Path | None
) -> Iterator[Verdict]:
    """Yield the verdict on each document, and on files without any."""
    found: list[Document | DocumentError] = []
    for path in paths:
        try:
            found += read(path) or [DocumentError(path, "found no document")]
        except DocumentError as error:
            found.append(error)
    documents = [item for item in found if isinstance(item, Document)]
    around = surroundings(documents, namespace, model_configs)
    for item in found:
        if isinstance(item, Document):
            yield judge(item, around)
        else:
            yield _refused(item.source, item.problem)


def judge(document: Document, around: Surroundings) -> Verdict:
    """Say whether a document would be taken; other kinds are passed over."""
    source = document.source
    if not document.is_workspace:
        return Verdict(ok=True, lines=(f"{source}: passed over: {document.kind}",))
    try:
        checked = check(document.obj, around)
    except RefusedError as error:
        return _refused(source, *error.faults)
    planned = checked.plan
    served = planned.server.preset.name if planned.server else "own template"
    summary = (
        f"{source}: ok: Workspace {checked.workspace.metadata.name}, {served}, "
        f"nodes: {planned.nodes}, {taken(planned)}"
    )
    warnings = (f"{source}: warning: {warning}" for warning in checked.warnings)
    return Verdict(ok=True, lines=(summary, *warnings))


def taken(planned: Plan) -> str:
    """Say what a replica takes of its node."""
    if planned.gpus_per_node:
        return f"GPUs on each: {planned.gpus_per_node}"
    takes = (f"{amount} {name}" for name, amount in planned.node_resources.items())
    return f"on each: {', '.join(takes) or 'nothing in particular'}"


def _refused(source: str, *faults: str) -> Verdict:
    lines = (f"{source}: refused: {' '.join(fault.split())}" for fault in faults)
    return Verdict(ok=False, lines=tuple(lines))
