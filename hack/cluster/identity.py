"""Tell one process from every other one.

A pid alone may belong to somebody else by the time it is read back, after a
crash or a reboot. Each pid is therefore kept with the moment its process was
started and the boot it was started in, and is only believed if all three agree.
"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.commands import wait_until

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
