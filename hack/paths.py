"""Where the scripts of hack/ keep and find things."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: State of the local cluster, of this checkout alone.
CLUSTER = ROOT / ".cluster"
KUBECONFIG = CLUSTER / "kubeconfig"

#: Build results that outlive a checkout, keyed by what went into them.
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pykaito"


def tool(name: str) -> str:
    """Return the path of a command: the one built here, else the one on PATH.

    Raises:
        FileNotFoundError: neither is there.
    """
    built = sorted((CACHE / "tools").glob(f"*/bin/{name}"), key=os.path.getmtime)
    if built:
        return str(built[-1])
    if found := shutil.which(name):
        return found
    raise FileNotFoundError(f"{name} is neither built nor on PATH; run: make cluster")


def kubectl() -> str:
    """Return the path of kubectl."""
    return tool("kubectl")
