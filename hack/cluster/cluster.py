"""Which cluster it is, and its life: up, down, status."""

import fcntl
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hack.cluster import existing, local
from hack.cluster.process import Process
from hack.cluster.state import State


def up(state: State) -> None:
    """Have a cluster: the user's if KUBECONFIG reaches one, else kind's, else ours.

    Raises:
        ClusterError: There is none; the message says why.
    """
    with alone():
        state.root.mkdir(exist_ok=True)
        provider, facts = _bring_up(state)
        known = {
            "provider": provider,
            "kubeconfig": str(state.kubeconfig),
            "bin": str(state.bin),
        }
        state.write_json(state.environment.name, known | facts)


def down(state: State) -> None:
    """Remove the cluster, if it is not the user's own, and the state directory.

    Raises:
        ClusterError: Something of it could not be removed.
    """
    with alone():
        provider = environment(state).get("provider")
        if provider == "kind":
            existing.down_kind()
        # Also after an `up` that failed before it could say what it is.
        if provider in {None, "local"} or state.pids.exists():
            local.down(state)
        if state.root.exists():
            shutil.rmtree(state.root)


def status(state: State) -> bool:
    """Print what runs and what does not; whether all of it runs."""
    known = environment(state)
    print(f"provider    {known.get('provider', 'none: `make cluster` brings one up')}")
    records = sorted(state.pids.glob("*.json"))
    ended = 0
    for process in (Process(record.stem, state) for record in records):
        if found := process.identity:
            print(f"{found.pid:>10}  {process.name}")
        else:
            ended += 1
            print(f"     ended  {process.name}: see {process.log}")
    return bool(known) and not ended


def environment(state: State) -> dict[str, Any]:
    """What env.json says, nothing if there is no cluster."""
    if not state.environment.exists():
        return {}
    known: dict[str, Any] = json.loads(state.environment.read_text())
    return known


def _bring_up(state: State) -> tuple[str, dict[str, Any]]:
    if existing.names_another(state) and (facts := existing.use_kubeconfig(state)):
        return "kubeconfig", facts
    # A local cluster stays the one in use, even if kind gets installed meanwhile.
    if environment(state).get("provider") != "local" and existing.has_kind():
        return "kind", existing.up_kind(state)
    return "local", local.up(state)


@contextmanager
def alone() -> Iterator[None]:
    """Let one process at a time change the cluster; others wait for it to end."""
    with Path(__file__).open(encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  waiting: another process changes the cluster", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
