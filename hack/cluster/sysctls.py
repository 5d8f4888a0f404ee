"""Kernel settings that a kubelet changes for the whole host, remembered."""

import json
from pathlib import Path

from hack.cluster.identity import boot_id
from hack.cluster.state import State

CHANGED_BY_KUBELET = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)
_RECORD = "sysctls.json"


def remember(state: State) -> None:
    """Write down the settings as they are, unless that was done in this boot."""
    if _recorded(state) is None:
        values = {name: read(name) for name in CHANGED_BY_KUBELET}
        state.write_json(_RECORD, {"boot": boot_id(), "values": values})


def restore(state: State) -> None:
    """Set the settings back to what they were; a reboot has done so itself."""
    for name, value in (_recorded(state) or {}).items():
        if value != read(name):
            _file(name).write_text(value)


def read(name: str) -> str:
    """A setting's value."""
    return _file(name).read_text().strip()


def _recorded(state: State) -> dict[str, str] | None:
    record = state.root / _RECORD
    if not record.exists():
        return None
    content = json.loads(record.read_text())
    values: dict[str, str] = content["values"]
    return values if content["boot"] == boot_id() else None


def _file(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))
