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
_HOST_PORT = "host"
_NODE_PORT = "eth0"


def ensure(control_plane: Sandbox, nodes: dict[Node, Sandbox]) -> None:
    """Connect all machines and the host, or whatever of it is not connected.

    Raises:
        ClusterError: The host routes the cluster's addresses elsewhere.
    """
    _ensure_bridge(control_plane)
    if not _has_link(control_plane, _HOST_PORT):
        _connect_host(control_plane)
    for node, machine in nodes.items():
        if not _has_link(machine, _NODE_PORT):
            _connect_node(control_plane, node, machine)


def disconnect_host(control_plane: Sandbox) -> None:
    """Remove the host's link, and with it its address and routes."""
    if control_plane.identity and _has_link(control_plane, _HOST_PORT):
        control_plane.network("ip", "link", "delete", _HOST_PORT)


def used_by_another(control_plane: Sandbox) -> bool:
    """Whether the host is connected to the cluster of another checkout."""
    ours = control_plane.identity and _has_link(control_plane, _HOST_PORT)
    return not ours and succeeds("ip", "link", "show", HOST_LINK)


def _ensure_bridge(control_plane: Sandbox) -> None:
    if not _has_link(control_plane, _BRIDGE):
        control_plane.network(
            *("ip", "link", "add", _BRIDGE, "type", "bridge", "forward_delay", "0")
        )
    _configure(control_plane, _BRIDGE, CONTROL_PLANE_ADDRESS, _cluster_routes())


def _connect_host(control_plane: Sandbox) -> None:
    for target in _cluster_routes():
        if found := run("ip", "route", "show", "exact", target).strip():
            raise ClusterError(
                f"the cluster needs the addresses {target}, which this host routes"
                f" elsewhere: {found}"
            )
    control_plane.network(
        *("ip", "link", "add", _HOST_PORT, "type", "veth"),
        *("peer", "name", HOST_LINK, "netns", str(os.getpid())),
    )
    control_plane.network("ip", "link", "set", _HOST_PORT, "master", _BRIDGE, "up")
    commands = _configuration(HOST_LINK, HOST_ADDRESS, _cluster_routes())
    run("ip", "-batch", "-", stdin=commands)


def _connect_node(control_plane: Sandbox, node: Node, machine: Sandbox) -> None:
    """Connect a node to the bridge and let it forward for its pods."""
    # Before the link is made, which inherits the defaults. A redirect sent while a
    # Service has no rules yet would lead its address astray for minutes.
    machine.network(
        *("sysctl", "-q", "-w"),
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.all.send_redirects=0",
        "net.ipv4.conf.default.send_redirects=0",
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.default.rp_filter=0",
        "net.bridge.bridge-nf-call-iptables=1",
    )
    control_plane.network(
        *("ip", "link", "add", node.name, "type", "veth"),
        *("peer", "name", _NODE_PORT, "netns", str(machine.pid)),
    )
    control_plane.network("ip", "link", "set", node.name, "master", _BRIDGE, "up")
    others = {other.pods: other.address for other in NODES if other != node}
    # kube-proxy catches Services on their way out, which needs a way out.
    way_out = {"default": CONTROL_PLANE_ADDRESS}
    _configure(machine, _NODE_PORT, node.address, others | way_out)


def _cluster_routes() -> dict[str, str]:
    """Ways to pods and Services for who is no node: any node knows Services."""
    pods = {node.pods: node.address for node in NODES}
    return {SERVICE_RANGE: CPU_NODE.address, **pods}


def _configure(
    machine: Sandbox, link: str, address: str, routes: dict[str, str]
) -> None:
    commands = "link set lo up\n" + _configuration(link, address, routes)
    machine.network("ip", "-batch", "-", stdin=commands)


def _configuration(link: str, address: str, routes: dict[str, str]) -> str:
    return (
        f"addr replace {address}/{MACHINE_PREFIX} dev {link}\nlink set {link} up\n"
        + ("".join(f"route replace {to} via {via}\n" for to, via in routes.items()))
    )


def _has_link(machine: Sandbox, name: str) -> bool:
    links = json.loads(machine.network("ip", "-json", "link", "show"))
    return any(link["ifname"] == name for link in links)
