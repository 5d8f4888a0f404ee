"""GPUs that a node advertises without having them.

A device plugin would report them to the kubelet; here the node's status is
patched instead, which the kubelet keeps through its own updates and restarts. A
node that was deleted and registers anew has none, until they are advertised again.
"""

from hack.cluster.api import Api
from hack.cluster.topology import Node

RESOURCE = "nvidia.com/gpu"


def ensure_advertised(api: Api, node: Node) -> None:
    """Make a registered node's status say that it has its GPUs."""
    path = f"/api/v1/nodes/{node.name}"
    status = (api.get(path) or {}).get("status", {})
    wanted = {RESOURCE: str(node.gpus)}
    kept = {
        name: status.get(name, {}).get(RESOURCE) for name in ("capacity", "allocatable")
    }
    if node.gpus and set(kept.values()) != {wanted[RESOURCE]}:
        patch = {"status": {"capacity": wanted, "allocatable": wanted}}
        api.merge(f"{path}/status", patch)
