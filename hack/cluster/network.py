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
        ClusterError: Something else on the host uses the cluster's addresses.
    """
    _ensure_bridge(control_plane)
    if not _has_link(control_plane, _HOST_PORT):
        _connect_host(control_plane)
    for node, machine in nodes.items():
        if not _has_link(machine, _NODE_PORT):
            _connect_node(control_plane, node, machine)


def remove_host_link() -> None:
    """Remove the host's link, and with it its address and routes."""
    if succeeds("ip", "link", "show", HOST_LINK):
        run("ip", "link", "delete", HOST_LINK)


def _ensure_bridge(control_plane: Sandbox) -> None:
    if not _has_link(control_plane, _BRIDGE):
        control_plane.network(
            *("ip", "link", "add", _BRIDGE, "type", "bridge", "forward_delay", "0")
        )
    _configure(control_plane, _BRIDGE, CONTROL_PLANE_ADDRESS, _cluster_routes())


def _connect_host(control_plane: Sandbox) -> None:
    if succeeds("ip", "link", "show", HOST_LINK):
        raise ClusterError(
            f"the link {HOST_LINK} exists already: another checkout's cluster runs"
            " on this machine; end it with `make cluster-down` there, or remove a"
            f" leftover with `ip link delete {HOST_LINK}`"
        )
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
    machine.network(
        *("sysctl", "-q", "-w"),
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.all.send_redirects=0",
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
