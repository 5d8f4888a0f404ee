"""The links and routes between the host, the control plane and the nodes.

The control plane's namespace holds the bridge to which all are connected, so the
host gets one link and nothing else: no bridge, no forwarding, no firewall rule.
"""

import json
import os

from hack.cluster.commands import ClusterError, run, succeeds
from hack.cluster.sandbox import Sandbox
from hack.cluster.topology import (
    CONTROL_PLANE_ADDRESS,
    CPU_NODE,
    HOST_ADDRESS,
    MACHINE_PREFIX,
    NODES,
    SERVICE_RANGE,
    Node,
)

HOST_LINK = "pykaito0"
_BRIDGE = "machines"
_PORT = "eth0"


def ensure_control_plane(machine: Sandbox) -> None:
    """Give the control plane the bridge, the host's link and the routes.

    Raises:
        ClusterError: The host's link belongs to a cluster of another checkout.
    """
    if not _has_link(machine, _BRIDGE):
        machine.network(
            *("ip", "-batch", "-"),
            stdin=f"link set lo up\n"
            f"link add {_BRIDGE} type bridge forward_delay 0\n"
            f"addr add {CONTROL_PLANE_ADDRESS}/{MACHINE_PREFIX} dev {_BRIDGE}\n"
            f"link set {_BRIDGE} up\n" + _routes(),
        )
    if _has_link(machine, "host"):
        return
    if succeeds("ip", "link", "show", HOST_LINK):
        raise ClusterError(
            f"the link {HOST_LINK} exists already: another checkout's cluster runs"
            " on this machine; end it with `make cluster-down` there, or remove a"
            f" leftover with `ip link delete {HOST_LINK}`"
        )
    machine.network(
        *("ip", "link", "add", "host", "type", "veth"),
        *("peer", "name", HOST_LINK, "netns", str(os.getpid())),
    )
    machine.network("ip", "link", "set", "host", "master", _BRIDGE, "up")
    run(
        *("ip", "-batch", "-"),
        stdin=f"addr add {HOST_ADDRESS}/{MACHINE_PREFIX} dev {HOST_LINK}\n"
        f"link set {HOST_LINK} up\n" + _routes(),
    )


def ensure_node(machine: Sandbox, control_plane: Sandbox, node: Node) -> None:
    """Connect a node to the bridge and let it forward for its pods."""
    if _has_link(machine, _PORT):
        return
    control_plane.network(
        *("ip", "link", "add", node.name, "type", "veth"),
        *("peer", "name", _PORT, "netns", str(machine.pid)),
    )
    control_plane.network("ip", "link", "set", node.name, "master", _BRIDGE, "up")
    others = "".join(
        f"route replace {other.pods} via {other.address}\n"
        for other in NODES
        if other != node
    )
    machine.network(
        *("ip", "-batch", "-"),
        stdin=f"link set lo up\n"
        f"addr add {node.address}/{MACHINE_PREFIX} dev {_PORT}\n"
        f"link set {_PORT} up\n"
        # kube-proxy catches Services on the way out, which needs a way out.
        f"route replace default via {CONTROL_PLANE_ADDRESS}\n" + others,
    )
    machine.network(
        *("sysctl", "-q", "-w"),
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.all.send_redirects=0",
        "net.bridge.bridge-nf-call-iptables=1",
    )


def remove_host_link() -> None:
    """Remove the host's link, and with it its address and routes."""
    if succeeds("ip", "link", "show", HOST_LINK):
        run("ip", "link", "delete", HOST_LINK)


def _routes() -> str:
    """Ways to pods and Services for who is no node: any node knows Services."""
    return f"route replace {SERVICE_RANGE} via {CPU_NODE.address}\n" + "".join(
        f"route replace {node.pods} via {node.address}\n" for node in NODES
    )


def _has_link(machine: Sandbox, name: str) -> bool:
    links = json.loads(machine.network("ip", "-json", "link", "show"))
    return any(link["ifname"] == name for link in links)
