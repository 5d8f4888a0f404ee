"""The configuration files of a node's processes, as pure functions."""

from pathlib import Path
from typing import Any

from hack.cluster.pki import Pair
from hack.cluster.topology import DNS_ADDRESS, DOMAIN, NODE_GRACE_SECONDS, Node

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_CNI_PLUGINS = "/usr/lib/cni"


def kubelet(
    node: Node,
    *,
    serving: Pair,
    client_ca: Path,
    cgroup_root: str,
    resolver: Path,
    volume_plugins: Path,
) -> dict[str, Any]:
    """The kubelet's configuration.

    Args:
        node: The node.
        serving: The certificate with which it serves exec and logs.
        client_ca: Who signs the certificates of those who may ask it.
        cgroup_root: The control group below which all pods go.
        resolver: The resolv.conf of pods that do not use cluster DNS.
        volume_plugins: A directory for volume plugins, which stays empty.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DOMAIN,
        "resolvConf": str(resolver),
        "volumePluginDir": str(volume_plugins),
        # Renewed four times as often as it would run out: a busy machine may
        # miss a heartbeat or two.
        "nodeLeaseDurationSeconds": NODE_GRACE_SECONDS,
        # Within it a pod sees the change of a ConfigMap that it mounts. By default it
        # is a minute, for which a test would wait.
        "syncFrequency": "15s",
        "failSwapOn": False,
        # Lowering it takes a capability that a container may lack.
        "oomScoreAdj": 0,
        # The disk is the host's: however full it is, it is not ours to clean up,
        # nor a reason to evict.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
    }


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


def containerd(*, root: Path, registries: Path, cni: Path, pause_image: str) -> str:
    """The configuration of containerd 1.6 and newer, in TOML.

    Args:
        root: Where it keeps images and containers.
        registries: A directory that says, per registry, how to reach it.
        cni: The directory of the pods' network configuration.
        pause_image: The image of a pod's first process.
    """
    return f"""\
version = 2
root = "{root}"
state = "/run/containerd"
oom_score = 0

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Lowering it takes a capability that a container may lack.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{_CNI_PLUGINS}"
  conf_dir = "{cni}"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{registries}"
"""


def registry_host(address: str) -> str:
    """How containerd reaches a registry that speaks plain HTTP, in TOML."""
    # containerd 1.6 refuses the file without a host entry.
    return f'server = "http://{address}"\n\n[host."http://{address}"]\n'
