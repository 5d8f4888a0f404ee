"""The Service that clients of a model call."""

from typing import Any

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.manifests.identity import metadata, selector

#: Where the model server listens, and where the Service sends 80 to.
SERVER_PORT = 5000
#: The second port; 0.4.1 used it for torch's rendezvous.
RENDEZVOUS_PORT = 29500


def service(workspace: Workspace, owner: Object) -> dict[str, Any]:
    """Return the Service that clients call: 80 to the model server."""
    exposed = workspace.metadata.annotations.get(labels.ENABLE_LOAD_BALANCER) == "True"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(workspace, owner),
        "spec": {
            "type": "LoadBalancer" if exposed else "ClusterIP",
            "selector": selector(workspace),
            "ports": [
                _port("http", 80, SERVER_PORT),
                _port("torch", RENDEZVOUS_PORT, RENDEZVOUS_PORT),
            ],
        },
    }


def _port(name: str, port: int, target: int) -> dict[str, Any]:
    return {"name": name, "port": port, "protocol": "TCP", "targetPort": target}
