import ipaddress
import struct
import tomllib
from pathlib import Path

import pytest
from cryptography import x509

from hack.cluster import cgroups, dns, node, node_config, packages, snapshot, topology
from hack.cluster.pki import Authority, Pair
from hack.cluster.state import State


def test_every_address_of_the_cluster_lies_in_one_range_and_no_two_meet() -> None:
    machines = ipaddress.ip_network(
        f"{topology.CONTROL_PLANE_ADDRESS}/24", strict=False
    )
    pods = ipaddress.ip_network(topology.POD_RANGE)
    services = ipaddress.ip_network(topology.SERVICE_RANGE)
    addresses = [topology.HOST_ADDRESS, topology.CONTROL_PLANE_ADDRESS]
    addresses += [item.address for item in topology.NODES]
    assert len(set(addresses)) == len(addresses)
    assert all(ipaddress.ip_address(address) in machines for address in addresses)
    assert all(
        ipaddress.ip_network(item.pods).subnet_of(pods)  # type: ignore[arg-type]
        for item in topology.NODES
    )
    assert not machines.overlaps(pods)
    assert not machines.overlaps(services)
    assert not pods.overlaps(services)
    assert ipaddress.ip_address(topology.DNS_ADDRESS) in services


def test_containerd_pulls_the_pause_image_and_finds_registries_and_network() -> None:
    text = node_config.containerd(
        root=Path("/s/containerd"),
        registries=Path("/s/registries"),
        cni=Path("/s/cni"),
        pause_image="10.200.0.1:5000/pykaito/pause:abc",
    )
    cri = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "10.200.0.1:5000/pykaito/pause:abc"
    assert cri["registry"]["config_path"] == "/s/registries"
    assert cri["cni"]["conf_dir"] == "/s/cni"


def test_a_registry_is_reached_by_plain_http() -> None:
    hosts = tomllib.loads(node_config.registry_host("10.200.0.1:5000"))
    assert hosts["server"] == "http://10.200.0.1:5000"
    assert list(hosts["host"]) == ["http://10.200.0.1:5000"]


def test_a_kubelet_serves_only_those_with_a_certificate_or_a_right() -> None:
    config = node_config.kubelet(
        topology.CPU_NODE,
        serving=Pair(Path("/k.crt"), Path("/k.key")),
        client_ca=Path("/ca.crt"),
        cgroup_root="/pykaito/pykaito-cpu-0",
        resolver=Path("/resolv.conf"),
        volume_plugins=Path("/plugins"),
    )
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}
    assert config["address"] == topology.CPU_NODE.address


@pytest.mark.parametrize(
    ("status", "reported", "ready"),
    [
        ("True", "2026-01-01T00:00:10Z", True),
        ("True", "2026-01-01T00:00:09Z", False),
        ("Unknown", "2026-01-01T00:00:11Z", False),
    ],
)
def test_a_node_is_ready_when_its_present_kubelet_said_so(
    status: str, reported: str, ready: bool
) -> None:
    condition = {"type": "Ready", "status": status, "lastHeartbeatTime": reported}
    found = {"status": {"conditions": [condition]}}
    started = 1767225610.9  # 2026-01-01T00:00:10.9Z
    assert node.is_ready(found, since=started) is ready


def test_a_node_that_has_not_registered_is_not_ready() -> None:
    assert not node.is_ready({}, since=0)


def test_dns_runs_the_image_it_is_given_behind_the_address_pods_ask() -> None:
    manifests = {item["kind"]: item for item in dns.manifests("registry/coredns:1")}
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry/coredns:1"
    assert manifests["Service"]["spec"]["clusterIP"] == topology.DNS_ADDRESS
    assert (
        f"kubernetes {topology.DOMAIN} " in manifests["ConfigMap"]["data"]["Corefile"]
    )


def test_a_dns_question_spells_the_name_by_its_labels() -> None:
    question = dns.query("kubernetes.default")
    assert question[12:] == b"\x0akubernetes\x07default\x00\x00\x01\x00\x01"


@pytest.mark.parametrize(
    ("flags", "answers", "good"),
    [(0x8180, 1, True), (0x8180, 0, False), (0x8183, 0, False), (0x8182, 1, False)],
)
def test_a_dns_response_counts_when_it_is_no_error_and_answers(
    flags: int, answers: int, good: bool
) -> None:
    response = struct.pack(">6H", 1, flags, 1, answers, 0, 0)
    assert dns.has_answer(response) is good


def test_every_mounted_control_group_hierarchy_is_found_in_both_versions() -> None:
    table = (
        "proc /proc proc rw 0 0\n"
        "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    )
    assert cgroups.mounts(table) == [
        Path("/sys/fs/cgroup/cpu"),
        Path("/sys/fs/cgroup/unified"),
    ]


def test_only_packages_that_are_not_installed_are_missing() -> None:
    status = "".join(f"{name} installed\n" for name in packages.NEEDED)
    assert packages.missing(status) == []
    removed = status.replace("runc installed", "runc config-files")
    assert packages.missing(removed) == ["runc"]


def test_a_difference_names_what_was_added_and_what_is_gone() -> None:
    before = {"links": frozenset({"lo", "eth0"}), "mounts": frozenset({"/"})}
    after = {"links": frozenset({"lo", "pykaito0"}), "mounts": frozenset({"/"})}
    assert snapshot.difference(before, after) == ["+ links: pykaito0", "- links: eth0"]
    assert snapshot.difference(before, before) == []


def test_a_certificate_proves_user_and_group_and_is_issued_once(tmp_path: Path) -> None:
    authority = Authority(State(tmp_path))
    pair = authority.issue("node", user="system:node:n", group="system:nodes")
    first = pair.certificate.read_bytes()
    certificate = x509.load_pem_x509_certificate(first)
    assert certificate.subject.rfc4514_string() == "CN=system:node:n,O=system:nodes"
    assert authority.issue("node", user="other") == pair
    assert pair.certificate.read_bytes() == first
    assert pair.key.stat().st_mode & 0o077 == 0


def test_a_serving_certificate_names_hosts_and_addresses(tmp_path: Path) -> None:
    authority = Authority(State(tmp_path))
    pair = authority.issue("api", user="api", hosts=("kubernetes", "10.96.0.1"))
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert names.value.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("10.96.0.1")
    ]
    authority_certificate = x509.load_pem_x509_certificate(
        authority.certificate.read_bytes()
    )
    certificate.verify_directly_issued_by(authority_certificate)
