"""What the API server's audit log says was created and deleted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import cluster
from hack.cluster.state import LOCAL

CREATED = 201
#: What is logged where the client was killed before its answer: it may have been done.
CUT_OFF = 504


class Audit:
    """Reads the log from where it was when this was made."""

    def __init__(self) -> None:
        found = cluster.environment(LOCAL).get("auditLog")
        if not found:
            pytest.skip("waits for a cluster whose audit log can be read")
        self._log = Path(found)
        self._start = self._log.stat().st_size
        self._inode = self._log.stat().st_ino

    def created(self, resource: str) -> list[str]:
        """Return the names of the objects that were created, in order."""
        return self._written(resource, CREATED)

    def asked_for(self, resource: str) -> set[str]:
        """Return these, and those whose creation nobody heard the end of."""
        return {*self.created(resource), *self._written(resource, CUT_OFF)}

    def _written(self, resource: str, code: int) -> list[str]:
        return [
            entry["objectRef"]["name"]
            for entry in self._entries()
            if entry["verb"] in {"create", "patch"}
            and entry["objectRef"].get("resource") == resource
            and not entry["objectRef"].get("subresource")
            and entry.get("responseStatus", {}).get("code") == code
        ]

    def _entries(self) -> Iterator[dict[str, Any]]:
        """Yield what was logged since, over the end of a file if it was rotated."""
        if self._log.stat().st_ino != self._inode:
            rotated = sorted(self._log.parent.glob(f"{self._log.stem}-*"))
            for path in rotated:
                if path.stat().st_ino == self._inode:
                    yield from _read(path, self._start)
            yield from _read(self._log, 0)
        else:
            yield from _read(self._log, self._start)


def _read(path: Path, start: int) -> Iterator[dict[str, Any]]:
    for line in whole_lines(path, start):
        entry: dict[str, Any] = json.loads(line)
        if "objectRef" in entry and "name" in entry["objectRef"]:
            yield entry


def whole_lines(path: Path, start: int) -> Iterator[bytes]:
    """Yield the lines of a log that begin at a place or later, and have an end.

    The API server may be in the middle of a line, now or when the place was taken.
    """
    with path.open("rb") as log:
        if start:
            log.seek(start - 1)
            log.readline()
        for line in log:
            if line.endswith(b"\n"):
                yield line
