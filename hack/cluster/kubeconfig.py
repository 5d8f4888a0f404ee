"""Kubeconfigs: how a component, or a person, reaches the API server."""

import base64
from pathlib import Path
from typing import Any

from hack.cluster.pki import Authority, Pair
from hack.cluster.state import State
from hack.cluster.topology import API_URL


def ensure(
    state: State,
    authority: Authority,
    name: str,
    *,
    user: str,
    group: str = "",
) -> Path:
    """The kubeconfig of a user, with a certificate of its own, made on first use.

    Args:
        state: The cluster's state.
        authority: Who signs the certificate.
        name: Names the certificate, and the kubeconfig in the same directory.
        user: The user's name.
        group: The user's group.
    """
    path = state.pki / f"{name}.kubeconfig"
    if not path.exists():
        pair = authority.issue(name, user=user, group=group)
        state.write_json(f"pki/{path.name}", render(authority.certificate, pair))
        path.chmod(0o600)
    return path


def render(ca: Path, pair: Pair) -> dict[str, Any]:
    """A kubeconfig that holds all it needs, so that it can be copied elsewhere."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "pykaito",
                "cluster": {
                    "server": API_URL,
                    "certificate-authority-data": _inline(ca),
                },
            }
        ],
        "users": [
            {
                "name": "user",
                "user": {
                    "client-certificate-data": _inline(pair.certificate),
                    "client-key-data": _inline(pair.key),
                },
            }
        ],
        "contexts": [
            {"name": "pykaito", "context": {"cluster": "pykaito", "user": "user"}}
        ],
        "current-context": "pykaito",
    }


def _inline(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
