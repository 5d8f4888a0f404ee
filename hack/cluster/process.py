"""Processes that outlive this one: started, found again and ended by their pid."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hack.cluster.commands import ClusterError, last_lines, wait_until
from hack.cluster.identity import Identity, children_of, end, identify
from hack.cluster.state import State

# Not this process's own environment: a proxy set for a user is not the cluster's.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
}


@dataclass(frozen=True)
class Process:
    """A process that the cluster keeps running.

    Attributes:
        name: Names its pid file and its log.
        state: Where these are.
    """

    name: str
    state: State

    @property
    def log(self) -> Path:
        """What the process printed, over all its starts."""
        return self.state.logs / f"{self.name}.log"

    @property
    def _record(self) -> Path:
        return self.state.pids / f"{self.name}.json"

    @property
    def identity(self) -> Identity | None:
        """The running process, or None."""
        record = self._read()
        if record is None:
            return None
        found = Identity(record["pid"], record["started"], record["boot"])
        return found if found.alive else None

    @property
    def started_at(self) -> float:
        """When the process was last started, in seconds since the epoch."""
        record = self._read()
        return record["at"] if record else 0.0

    def runs(self, argv: Sequence[str]) -> bool:
        """Whether the process runs, and was started by this very command."""
        record = self._read()
        return bool(record and record["argv"] == list(argv) and self.identity)

    def start(
        self,
        argv: Sequence[str],
        *,
        entered: bool = False,
    ) -> Identity:
        """Start the process in a session of its own, its output in the log.

        Args:
            argv: The command.
            entered: `argv` is a program that forks the process into namespaces
                and waits for it: the process is its child.

        Raises:
            ClusterError: It ended at once.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            parent = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        pid = self._child(parent) if entered else parent.pid
        found = identify(pid)
        if found is None:
            raise self.failure(f"{self.name} ended as soon as it was started")
        self.state.write_json(
            f"pids/{self.name}.json",
            {**asdict(found), "at": time.time(), "argv": list(argv)},
        )
        return found

    def wait_ready(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Wait until the process says it is ready.

        Raises:
            ClusterError: It ended, or was not ready within `timeout` seconds;
                the message holds the end of its log.
        """

        def ready_or_dead() -> bool:
            if self.identity is None:
                raise self.failure(f"{self.name} ended before it was ready")
            return ready()

        wait_until(
            ready_or_dead,
            timeout=timeout,
            otherwise=lambda: str(self.failure(f"{self.name} ready")),
        )

    def failure(self, what: str) -> ClusterError:
        """An error that shows the end of the process's log and where it is."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return ClusterError(f"{what}; the end of {self.log}:\n{last_lines(text)}")

    def end(self) -> None:
        """End the process and wait until it is gone.

        Raises:
            ClusterError: It still runs after being killed.
        """
        if found := self.identity:
            end(found, self.name)
        self._record.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self._record.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return record

    def _child(self, parent: "subprocess.Popen[bytes]") -> int:
        children: list[int] = []

        def forked() -> bool:
            children[:] = children_of(parent.pid)
            if not children and parent.poll() is not None:
                raise self.failure(f"{self.name} could not be started")
            return bool(children)

        wait_until(
            forked,
            timeout=30,
            interval=0.01,
            otherwise=lambda: f"{self.name} was not started",
        )
        return children[0]
