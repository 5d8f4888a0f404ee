"""Where a server's process id is, for whoever must end it.

``accelerate launch`` runs the server as its child and does not hand signals
on; as a container's first process it even ignores them. So a pod's preStop
hook asks the server itself (`stop`).
"""

import os
import tempfile
from pathlib import Path


def pid_file(port: int) -> Path:
    """Return the file of the server on that port."""
    return Path(tempfile.gettempdir(), f"pykaito-hf-{port}.pid")


def write_pid(port: int) -> None:
    """Write this process's id."""
    pid_file(port).write_text(f"{os.getpid()}\n", encoding="ascii")


def read_pid(port: int) -> int | None:
    """Return the id of the server on that port, or None if none runs."""
    try:
        pid = int(pid_file(port).read_text(encoding="ascii"))
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid
