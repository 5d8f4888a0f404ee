"""Control groups of the nodes, in every hierarchy that is mounted."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from hack.cluster.commands import wait_until

_PARENT = "pykaito"
_REMOVE_TIMEOUT = 20.0


def path_of(node: str) -> str:
    """The control group below which a node keeps its pods."""
    return f"/{_PARENT}/{node}"


def ensure(node: str) -> None:
    """Make a node's control group in every hierarchy.

    The kubelet makes those below it, and wants this one to be there.
    """
    for mount in mounts(Path("/proc/mounts").read_text()):
        group = mount
        for part in (_PARENT, node):
            _hand_down_controllers(group)
            group /= part
            group.mkdir(exist_ok=True)
            _fill_cpuset(group)
        _hand_down_controllers(group)


def remove(path: str = f"/{_PARENT}") -> None:
    """Remove a control group and all below it, once their processes are gone.

    Args:
        path: Of one node, or by default of all.

    Raises:
        ClusterError: Something still runs in one of them.
    """
    wait_until(
        lambda: not list(_removed_or_left(path)),
        timeout=_REMOVE_TIMEOUT,
        otherwise=lambda: f"no process left in {', '.join(map(str, _existing(path)))}",
    )


def _existing(path: str) -> list[Path]:
    """The control groups from `path` down, children before their parents."""
    return [
        group
        for mount in mounts(Path("/proc/mounts").read_text())
        for group in _tree(mount / path.lstrip("/"))
    ]


def mounts(table: str) -> list[Path]:
    """Where control group hierarchies are mounted, from the text of /proc/mounts."""
    rows = (line.split() for line in table.splitlines())
    return [Path(row[1]) for row in rows if row[2] in {"cgroup", "cgroup2"}]


def _tree(group: Path) -> Iterable[Path]:
    if not group.is_dir():
        return
    for child in sorted(group.iterdir()):
        if child.is_dir():
            yield from _tree(child)
    yield group


def _removed_or_left(path: str) -> Iterator[Path]:
    for group in _existing(path):
        try:
            group.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            yield group


def _fill_cpuset(group: Path) -> None:
    """Give a version 1 cpuset its parent's processors and memory.

    A cpuset is born empty, and no process can enter an empty one.
    """
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = group / name
        is_version_1 = (group.parent / "cpuset.cpu_exclusive").exists()
        if is_version_1 and file.exists() and not file.read_text().strip():
            file.write_text((group.parent / name).read_text())


def _hand_down_controllers(group: Path) -> None:
    """Let the children of a version 2 group use all controllers it has.

    Where version 1 has memory, it has all that counts, and this is left alone.
    """
    file = group / "cgroup.controllers"
    available = file.read_text().split() if file.exists() else []
    if "memory" in available:
        wanted = " ".join(f"+{name}" for name in available)
        (group / "cgroup.subtree_control").write_text(wanted)
