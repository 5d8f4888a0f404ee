"""Processes that outlive this one: started, found again and ended by their pid.

A pid alone may belong to somebody else by the time it is read back, after a
crash or a reboot. Each pid is therefore kept with the moment its process was
started and the boot it was started in, and is only believed if all three agree.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hack.cluster.commands import ClusterError, last_lines, wait_until
from hack.cluster.state import State

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_END_TIMEOUT = 20.0


@dataclass(frozen=True)
class Identity:
    """What tells one process from every other one.

    Attributes:
        pid: Its process id, as the host sees it.
        started: Its start, in clock ticks since boot.
        boot: The boot's id.
    """

    pid: int
    started: int
    boot: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return identify(self.pid) == self


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
        env: Mapping[str, str] | None = None,
    ) -> Identity:
        """Start the process in a session of its own, its output in the log.

        Args:
            argv: The command.
            entered: `argv` is a program that forks the process into namespaces
                and waits for it: the process is its child.
            env: Environment variables beside PATH and HOME. This process's own
                are not handed on: a proxy set for a user is not the cluster's.

        Raises:
            ClusterError: It ended at once.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {"PATH": _PATH, "HOME": "/root", **(env or {})}
        with self.log.open("ab") as log:
            parent = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
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
            timeout=10,
            interval=0.01,
            otherwise=lambda: f"{self.name} was not started",
        )
        return children[0]


def end(identity: Identity, name: str) -> None:
    """Kill a process and wait until it is gone.

    Raises:
        ClusterError: It still runs; the message calls it `name`.
    """
    with suppress(ProcessLookupError):
        os.kill(identity.pid, signal.SIGKILL)
    wait_until(
        lambda: not identity.alive,
        timeout=_END_TIMEOUT,
        interval=0.02,
        otherwise=lambda: f"{name} (pid {identity.pid}) does not end",
    )


def find(command: tuple[str, ...]) -> list[Identity]:
    """The processes that were started by exactly this command line."""
    pids = (
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()
    )
    found = (identify(pid) for pid in pids if command_line(pid) == command)
    return [identity for identity in found if identity]


def command_line(pid: int) -> tuple[str, ...]:
    """A process's command line, empty if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(text.split("\0")[:-1])


def identify(pid: int) -> Identity | None:
    """The identity of a running process, None if there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = parse_stat(stat)
    return None if state in "ZX" else Identity(pid, started, boot_id())


def parse_stat(stat: str) -> tuple[str, int]:
    """The state and start time of a process, from its /proc/PID/stat."""
    # The command's name, in parentheses, may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def boot_id() -> str:
    """What names this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def children_of(pid: int) -> list[int]:
    """The pids of a process's children."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]
