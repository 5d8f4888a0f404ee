"""Names and addresses of the cluster: what is where.

    host ── pykaito0 ──┐
                       │ bridge `machines`, in the control plane's namespace
    control plane  ────┤ 10.200.0.1   etcd, API server, managers, registries
    pykaito-cpu-0  ────┤ 10.200.0.2   pods 10.244.0.0/24
    pykaito-gpu-0  ────┘ 10.200.0.3   pods 10.244.1.0/24

Nothing routes from here to the outside: a pod reaches the cluster and the host,
no more.
"""

from dataclasses import dataclass, field

MACHINE_PREFIX = 24
HOST_ADDRESS = "10.200.0.254"
CONTROL_PLANE_ADDRESS = "10.200.0.1"
CONTROL_PLANE = "pykaito-control-plane"

POD_RANGE = "10.244.0.0/16"
# Of pods on nodes that are none; no route leads to them.
FAKE_POD_RANGE = "10.244.255.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
DOMAIN = "cluster.local"

# How long a node may be silent before it counts as lost: short enough for a test
# to wait for.
NODE_GRACE_SECONDS = 16

API_PORT = 6443
API_URL = f"https://{CONTROL_PLANE_ADDRESS}:{API_PORT}"


@dataclass(frozen=True)
class Node:
    """A node of the cluster.

    Attributes:
        name: Its name in Kubernetes, and its host name.
        address: Its address among the machines.
        pods: The range from which its pods get their addresses.
        labels: Labels it registers with.
        gpus: How many `nvidia.com/gpu` it advertises.
    """

    name: str
    address: str
    pods: str
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    gpus: int = 0


CPU_NODE = Node(
    name="pykaito-cpu-0",
    address="10.200.0.2",
    pods="10.244.0.0/24",
)
# The labels are those GPU feature discovery sets on a machine with eight A100.
GPU_NODE = Node(
    name="pykaito-gpu-0",
    address="10.200.0.3",
    pods="10.244.1.0/24",
    labels={
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB",
        "nvidia.com/gpu.count": "8",
        "nvidia.com/gpu.memory": "81920",
    },
    gpus=8,
)
NODES = (CPU_NODE, GPU_NODE)
