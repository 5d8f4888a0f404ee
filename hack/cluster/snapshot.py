"""What of the host a cluster could leave changed, to be compared."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from hack.cluster.commands import run, succeeds
from hack.cluster.identity import command_line
from hack.cluster.sandbox import KERNEL_SETTINGS
from hack.cluster.state import State

Snapshot = dict[str, frozenset[str]]

_SETTINGS = ("net.ipv4.", "net.ipv6.", "net.bridge.", "net.netfilter.", "fs.inotify.")
_CHANGING = ("net.netfilter.nf_conntrack_count", "net.ipv4.route.")
_DIRECTORIES = ("/run", "/etc", "/opt", "/usr/libexec", "/var/lib", "/var/log")


def take(state: State) -> Snapshot:
    """The host as it is: a set of lines per aspect.

    Processes count if they are in another network or PID namespace than this
    one, or were started from the state directory; others come and go.
    """
    return {
        "processes": frozenset(_processes(state)),
        "mounts": frozenset(_mounts()),
        "links": frozenset(
            link["ifname"] for link in json.loads(run("ip", "-json", "link"))
        ),
        "routes": frozenset(run("ip", "route", "show", "table", "all").splitlines()),
        "named networks": frozenset(run("ip", "netns", "list").splitlines()),
        "nftables": frozenset(run("nft", "list", "ruleset").splitlines()),
        "iptables": frozenset(_iptables()),
        "control groups": frozenset(_control_groups()),
        "settings": frozenset(_settings()),
        "files": frozenset(
            str(entry)
            for directory in _DIRECTORIES
            if Path(directory).is_dir()
            for entry in Path(directory).iterdir()
        ),
    }


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """What was added (+) and removed (-), one line each."""
    return [
        f"{sign} {aspect}: {line}"
        for aspect in before
        for sign, lines in (
            ("+", after[aspect] - before[aspect]),
            ("-", before[aspect] - after[aspect]),
        )
        for line in sorted(lines)
    ]


def _processes(state: State) -> Iterable[str]:
    own = _namespaces("self")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        command = " ".join(command_line(int(entry.name)))
        apart = bool(command) and _namespaces(entry.name) not in {own, None}
        if apart or str(state.root) in command:
            yield f"{entry.name} {command}"


def _namespaces(pid: str) -> tuple[str, str] | None:
    try:
        return (
            str(Path(f"/proc/{pid}/ns/net").readlink()),
            str(Path(f"/proc/{pid}/ns/pid").readlink()),
        )
    except OSError:  # it ended, or nobody may look, as at some first processes
        return None


def _mounts() -> Iterable[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        yield f"{fields[4]} {fields[fields.index('-') + 1]}"


def _iptables() -> Iterable[str]:
    for command in ("iptables-save", "ip6tables-save", "iptables-legacy-save"):
        if succeeds(command):
            for line in run(command).splitlines():
                if not line.startswith(("#", ":")):
                    yield f"{command}: {line}"


def _control_groups() -> Iterable[str]:
    # Whoever runs this may itself be put into new groups, which it owns.
    own = {
        line.rsplit(":", 1)[1].split("/")[1]
        for line in Path("/proc/self/cgroup").read_text().splitlines()
    }
    for directory, _, _ in os.walk("/sys/fs/cgroup"):
        if not (own - {""}) & set(directory.split("/")):
            yield directory


def _settings() -> Iterable[str]:
    for line in run("sysctl", "-a", timeout=30).splitlines():
        if line.startswith(_SETTINGS) and not line.startswith(_CHANGING):
            yield line
    for name in KERNEL_SETTINGS:
        yield f"{name} = {Path('/proc/sys', name).read_text().strip()}"
