"""A node: containerd, kubelet and kube-proxy on a machine of their own."""

import datetime as dt
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import cgroups, kubeconfig, node_config
from hack.cluster.api import Api
from hack.cluster.pki import Authority
from hack.cluster.process import Process
from hack.cluster.progress import step
from hack.cluster.registry import ADDRESSES, OPEN
from hack.cluster.sandbox import Sandbox
from hack.cluster.state import State
from hack.cluster.topology import POD_RANGE, Node

_CONTAINERD_TIMEOUT = 60.0
_READY_TIMEOUT = 90.0


@dataclass(frozen=True)
class NodeMachine:
    """What makes a machine a node.

    Attributes:
        node: Which one.
        state: The cluster's state.
        machine: Where it runs.
        authority: Who signs its certificates.
    """

    node: Node
    state: State
    machine: Sandbox
    authority: Authority

    def ensure(self, pause_image: str) -> None:
        """Start what does not run."""
        cgroups.ensure(self.node.name)
        self._containerd(pause_image)
        self._kubelet()
        self._proxy()

    def wait_ready(self, api: Api) -> None:
        """Wait until the kubelet that runs has reported the node as Ready.

        Raises:
            ClusterError: It ended or did not do so in time.
        """
        kubelet = Process(f"kubelet-{self.node.name}", self.state)
        since = kubelet.started_at

        def ready() -> bool:
            found = api.get(f"/api/v1/nodes/{self.node.name}") or {}
            return is_ready(found, since=since)

        if not (kubelet.identity and ready()):
            with step(f"node {self.node.name}"):
                kubelet.wait_ready(ready, timeout=_READY_TIMEOUT)

    def _containerd(self, pause_image: str) -> None:
        for address in ADDRESSES:
            hosts = node_config.registry_host(address)
            self._write(f"registries/{address}/hosts.toml", hosts)
        # Public images are looked for where stand-ins for them are pushed, and
        # nowhere else: nothing routes to the outside.
        hosts = node_config.registry_host(OPEN)
        self._write("registries/docker.io/hosts.toml", hosts)
        self._write("cni/10-pykaito.conflist", json.dumps(node_config.cni(self.node)))
        config = self._write(
            "containerd.toml",
            node_config.containerd(
                root=self._directory / "containerd",
                registries=self._directory / "registries",
                cni=self._directory / "cni",
                pause_image=pause_image,
            ),
        )
        process, started = self.machine.ensure_process(
            f"containerd-{self.node.name}", ("containerd", "--config", str(config))
        )
        if started:
            # A kubelet that finds no containerd gives up.
            path = f"/proc/{self.machine.pid}/root{node_config.CONTAINERD_SOCKET}"
            process.wait_ready(lambda: _listens(path), timeout=_CONTAINERD_TIMEOUT)

    def _kubelet(self) -> None:
        name = f"kubelet-{self.node.name}"
        user = f"system:node:{self.node.name}"
        group = "system:nodes"
        serving = self.authority.issue(
            f"{name}-serving",
            user=user,
            group=group,
            hosts=(self.node.name, self.node.address),
        )
        client = kubeconfig.ensure(
            self.state, self.authority, name, user=user, group=group
        )
        config = node_config.kubelet(
            self.node,
            serving=serving,
            client_ca=self.authority.certificate,
            cgroup_root=cgroups.path_of(self.node.name),
            resolver=self._write("resolv.conf", ""),
            volume_plugins=self._directory / "volume-plugins",
        )
        config_file = self._write("kubelet.json", json.dumps(config, indent=2))
        labels = ",".join(f"{key}={value}" for key, value in self.node.labels.items())
        self.machine.ensure_process(
            name,
            (
                str(self.state.bin / "kubelet"),
                f"--config={config_file}",
                f"--kubeconfig={client}",
                f"--hostname-override={self.node.name}",
                f"--node-ip={self.node.address}",
                f"--root-dir={self._directory / 'kubelet'}",
                *([f"--node-labels={labels}"] if labels else []),
            ),
        )

    def _proxy(self) -> None:
        client = kubeconfig.ensure(
            self.state, self.authority, "kube-proxy", user="system:kube-proxy"
        )
        self.machine.ensure_process(
            f"kube-proxy-{self.node.name}",
            (
                str(self.state.bin / "kube-proxy"),
                f"--kubeconfig={client}",
                f"--hostname-override={self.node.name}",
                "--proxy-mode=iptables",
                f"--cluster-cidr={POD_RANGE}",
                # These belong to the host, not to a network namespace.
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0s",
                "--conntrack-tcp-timeout-close-wait=0s",
            ),
        )

    @property
    def _directory(self) -> Path:
        return self.state.root / "machines" / self.node.name

    def _write(self, name: str, text: str) -> Path:
        return self.state.write(f"machines/{self.node.name}/{name}", text)


def is_ready(node: dict[str, Any], *, since: float) -> bool:
    """Whether a node reports Ready, in a report not older than `since`.

    Args:
        node: The Node object.
        since: A time in seconds since the epoch.
    """
    for condition in node.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready" and condition["status"] == "True":
            reported = dt.datetime.fromisoformat(condition["lastHeartbeatTime"])
            # Reports count whole seconds.
            return reported.timestamp() >= int(since)
    return False


def _listens(path: str) -> bool:
    """Whether somebody answers on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
        return True
