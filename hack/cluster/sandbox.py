"""A machine of the cluster: namespaces of its own, held by one process.

Network, mount, PID, IPC and host name are the machine's own, so what runs on it
collides with neither the host nor another machine, and all of it ends, with its
mounts, links and firewall rules, when the holding process does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.commands import ClusterError, run
from hack.cluster.identity import Identity, command_line, end, find
from hack.cluster.process import Process
from hack.cluster.state import State

_START_TIMEOUT = 30.0
# Settings of the one kernel, which a kubelet sets for its node. Here it sets
# copies: the host keeps its own, whatever ends how.
KERNEL_SETTINGS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
# /run and /var/log are where containerd, the kubelet, CNI and xtables keep state
# under fixed names; here each machine has its own. Mounts are shared within the
# machine, which pods with mount propagation need, and never with the host.
_SET_UP = """
name=$1 log=$2 pause=$3
shift 3
hostname "$name"
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$log" /var/log
for setting; do
    copy=/run/kernel-settings/$setting
    mkdir -p "${copy%/*}"
    cat "/proc/sys/$setting" > "$copy"
    mount --bind "$copy" "/proc/sys/$setting"
done
exec "$pause" "$name"
"""


@dataclass(frozen=True)
class Sandbox:
    """One machine.

    Attributes:
        name: Its host name.
        state: The cluster's state.
    """

    name: str
    state: State

    @property
    def _holder(self) -> Process:
        return Process(f"machine-{self.name}", self.state)

    @property
    def _pause(self) -> Path:
        return self.state.bin / "pause"

    @property
    def _command(self) -> tuple[str, ...]:
        """The holder's command line, which no other process has."""
        return (str(self._pause), self.name)

    @property
    def identity(self) -> Identity | None:
        """The process that holds the machine, None if it does not run.

        A machine that outlived its record, as after `rm -r .cluster`, still runs.
        """
        return self._holder.identity or next(iter(find(self._command)), None)

    @property
    def pid(self) -> int:
        """The pid of the process that holds the machine.

        Raises:
            ClusterError: The machine does not run.
        """
        found = self.identity
        if found is None:
            raise ClusterError(f"the machine {self.name} does not run")
        return found.pid

    def ensure(self) -> None:
        """Start the machine unless it runs."""
        if self._holder.identity:
            return
        # One that outlived its record outlived its keys and data too.
        self.end()
        log = str(self.state.directory("machines", self.name, "log"))
        namespaces = ("--mount", "--net", "--pid", "--uts", "--ipc")
        holder = self._holder.start(
            (
                *("unshare", *namespaces, "--fork", "--mount-proc"),
                *("--propagation", "private"),
                *("sh", "-ec", _SET_UP, "sh", self.name, log, str(self._pause)),
                *KERNEL_SETTINGS,
            ),
            entered=True,
        )
        self._holder.wait_ready(
            lambda: command_line(holder.pid) == self._command, timeout=_START_TIMEOUT
        )

    def end(self) -> None:
        """End the machine and, as its first process, all that runs in it.

        Raises:
            ClusterError: It does not end.
        """
        for identity in find(self._command):
            end(identity, self.name)
        self._holder.end()

    def network(self, *argv: str, stdin: str | None = None) -> str:
        """Run a command of the host in the machine's network."""
        return run("nsenter", "-t", str(self.pid), "--net", *argv, stdin=stdin)

    def enter(self, *argv: str) -> tuple[str, ...]:
        """The command line that runs a command inside the machine."""
        return (
            *("nsenter", "-t", str(self.pid)),
            *("--mount", "--net", "--pid", "--uts", "--ipc", *argv),
        )

    def ensure_process(
        self,
        name: str,
        argv: Sequence[str],
    ) -> tuple[Process, bool]:
        """Keep a process running inside the machine.

        A process that was started by another command, as after a change of
        flags or version, is replaced.

        Returns:
            The process, and whether it had to be started.
        """
        process = Process(name, self.state)
        command = self.enter(*argv)
        if process.runs(command):
            return process, False
        process.end()
        process.start(command, entered=True)
        return process, True
