"""A node: containerd, kubelet and kube-proxy on a machine of their own."""

import datetime as dt
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import cgroups, kubeconfig
from hack.cluster.api import Api
from hack.cluster.pki import Authority
from hack.cluster.process import Process
from hack.cluster.progress import step
from hack.cluster.registry import ADDRESSES
from hack.cluster.sandbox import Sandbox
from hack.cluster.state import State
from hack.cluster.topology import DNS_ADDRESS, DOMAIN, POD_RANGE, Node

_CNI_PLUGINS = "/usr/lib/cni"
_SOCKET = "/run/containerd/containerd.sock"
_CONTAINERD_TIMEOUT = 30.0
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
        directory = self.state.directory("machines", self.node.name)
        hosts = directory / "registries"
        for address in ADDRESSES:
            self._write(
                f"registries/{address}/hosts.toml",
                f'server = "http://{address}"\n[host."http://{address}"]\n',
            )
        self._write("cni/10-pykaito.conflist", json.dumps(cni(self.node), indent=2))
        config = self._write(
            "containerd.toml",
            containerd(
                root=directory / "containerd",
                hosts=hosts,
                cni=directory / "cni",
                pause_image=pause_image,
            ),
        )
        process, started = self.machine.ensure_process(
            f"containerd-{self.node.name}", ("containerd", "--config", str(config))
        )
        if started:
            # A kubelet that finds no containerd gives up.
            path = f"/proc/{self.machine.pid}/root{_SOCKET}"
            process.wait_ready(lambda: _listens(path), timeout=_CONTAINERD_TIMEOUT)

    def _kubelet(self) -> None:
        serving = self.authority.issue(
            f"kubelet-{self.node.name}-serving",
            user=f"system:node:{self.node.name}",
            group="system:nodes",
            hosts=(self.node.name, self.node.address),
        )
        client = kubeconfig.ensure(
            self.state,
            self.authority,
            f"kubelet-{self.node.name}",
            user=f"system:node:{self.node.name}",
            group="system:nodes",
        )
        resolver = self._write("resolv.conf", "")
        config = self._write(
            "kubelet.json",
            json.dumps(
                {
                    "apiVersion": "kubelet.config.k8s.io/v1beta1",
                    "kind": "KubeletConfiguration",
                    "address": self.node.address,
                    "tlsCertFile": str(serving.certificate),
                    "tlsPrivateKeyFile": str(serving.key),
                    "authentication": {
                        "anonymous": {"enabled": False},
                        "webhook": {"enabled": True},
                        "x509": {"clientCAFile": str(self.authority.certificate)},
                    },
                    "authorization": {"mode": "Webhook"},
                    "containerRuntimeEndpoint": f"unix://{_SOCKET}",
                    "cgroupDriver": "cgroupfs",
                    "cgroupRoot": cgroups.path_of(self.node.name),
                    "clusterDNS": [DNS_ADDRESS],
                    "clusterDomain": DOMAIN,
                    "resolvConf": str(resolver),
                    "volumePluginDir": str(
                        self.state.directory(
                            "machines", self.node.name, "volume-plugins"
                        )
                    ),
                    "failSwapOn": False,
                    # Lowering it takes a capability that a container may lack.
                    "oomScoreAdj": 0,
                    # The disk is the host's, and however full it is, it is not
                    # this cluster's to clean up.
                    "imageGCHighThresholdPercent": 100,
                    "evictionHard": {
                        "memory.available": "100Mi",
                        "nodefs.available": "0%",
                        "nodefs.inodesFree": "0%",
                        "imagefs.available": "0%",
                        "imagefs.inodesFree": "0%",
                    },
                },
                indent=2,
            ),
        )
        labels = ",".join(f"{key}={value}" for key, value in self.node.labels.items())
        root = self.state.directory("machines", self.node.name, "kubelet")
        self.machine.ensure_process(
            f"kubelet-{self.node.name}",
            (
                str(self.state.bin / "kubelet"),
                f"--config={config}",
                f"--kubeconfig={client}",
                f"--hostname-override={self.node.name}",
                f"--node-ip={self.node.address}",
                f"--root-dir={root}",
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


def cni(node: Node) -> dict[str, Any]:
    """The pods' network: a bridge whose other side is routed, without NAT."""
    return {
        "cniVersion": "1.0.0",
        "name": "pykaito",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                # A pod that calls its own Service comes back the way it left.
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    # Leases last as long as the machine, as pods' networks do.
                    "dataDir": "/run/cni",
                    "ranges": [[{"subnet": node.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def containerd(*, root: Path, hosts: Path, cni: Path, pause_image: str) -> str:
    """The configuration of containerd 1.6 and newer.

    Args:
        root: Where it keeps images and containers.
        hosts: A directory that says, per registry, how to reach it.
        cni: The directory of the pods' network configuration.
        pause_image: The image of a pod's first process.
    """
    return f"""\
version = 2
root = "{root}"
state = "/run/containerd"
oom_score = 0

[grpc]
  address = "{_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Lowering it takes a capability that a container may lack.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{_CNI_PLUGINS}"
  conf_dir = "{cni}"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{hosts}"
"""


def _listens(path: str) -> bool:
    """Whether somebody answers on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
        return True
