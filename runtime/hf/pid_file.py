"""Where a server's process id is, for whoever must end it.

``accelerate launch`` runs the server as its child and does not hand signals
on; as a container's first process it even ignores them. So a pod's preStop
hook signals the process whose id is in this file.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "inference_api.pid"


@contextmanager
def pid_file() -> Iterator[Path]:
    """Hold this process's id in the temporary folder while the block runs."""
    path = Path(tempfile.gettempdir(), NAME)
    mine = f"{os.getpid()}\n"
    path.write_text(mine, encoding="ascii")
    try:
        yield path
    finally:
        # Unless another server, started since, has put its own there.
        if path.exists() and path.read_text(encoding="ascii") == mine:
            path.unlink()
