"""The control plane: etcd, API server, controller manager, scheduler."""

from dataclasses import dataclass
from functools import cached_property

from hack.cluster import kubeconfig
from hack.cluster.api import Api
from hack.cluster.commands import answers
from hack.cluster.pki import Authority, signing_key
from hack.cluster.process import Process
from hack.cluster.progress import step
from hack.cluster.sandbox import Sandbox
from hack.cluster.state import State
from hack.cluster.topology import (
    API_PORT,
    API_SERVICE_ADDRESS,
    CONTROL_PLANE_ADDRESS,
    DOMAIN,
    NODE_GRACE_SECONDS,
    POD_RANGE,
    SERVICE_RANGE,
)

_START_TIMEOUT = 90.0
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class ControlPlane:
    """The processes that make a cluster of the nodes.

    Attributes:
        state: The cluster's state.
        machine: Where they run.
        authority: Who signs their certificates.
    """

    state: State
    machine: Sandbox
    authority: Authority

    @cached_property
    def api(self) -> Api:
        """The API server, as the administrator sees it."""
        return Api(self.authority)

    def ensure(self) -> None:
        """Start what does not run, in the order in which one needs the other."""
        self._etcd()
        self._api_server()
        self._managers()

    def _etcd(self) -> None:
        data = self.state.directory("etcd")
        # Only the control plane is in this network: nobody else reaches it.
        process, started = self.machine.ensure_process(
            "etcd",
            (
                "etcd",
                "--name=pykaito",
                f"--data-dir={data}",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                f"--listen-metrics-urls=http://{CONTROL_PLANE_ADDRESS}:2381",
                "--auto-compaction-retention=1",
                "--logger=zap",
            ),
        )
        if started:
            with step("etcd"):
                process.wait_ready(
                    lambda: answers(f"http://{CONTROL_PLANE_ADDRESS}:2381/health"),
                    timeout=_START_TIMEOUT,
                )

    def _api_server(self) -> None:
        serving = self.authority.issue(
            "apiserver",
            user="kube-apiserver",
            hosts=(
                *("kubernetes", "kubernetes.default", "kubernetes.default.svc"),
                *(f"kubernetes.default.svc.{DOMAIN}", "localhost", "127.0.0.1"),
                *(CONTROL_PLANE_ADDRESS, API_SERVICE_ADDRESS),
            ),
        )
        kubelet = self.authority.issue(
            "apiserver-kubelet", user="kube-apiserver-kubelet", group="system:masters"
        )
        front = Authority(self.state, "front-proxy-ca")
        proxy = front.issue("front-proxy", user="front-proxy")
        tokens = signing_key(self.state, "service-accounts")
        policy = self.state.write_json("audit-policy.json", _AUDIT_POLICY)
        process, _ = self.machine.ensure_process(
            "kube-apiserver",
            (
                str(self.state.bin / "kube-apiserver"),
                f"--advertise-address={CONTROL_PLANE_ADDRESS}",
                f"--secure-port={API_PORT}",
                "--etcd-servers=http://127.0.0.1:2379",
                # It needs etcd's progress requests, which Debian's etcd has not. Left
                # on, it refuses a watch that starts from any version, as kwok's do.
                "--feature-gates=WatchList=false",
                f"--service-cluster-ip-range={SERVICE_RANGE}",
                "--allow-privileged=true",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                f"--client-ca-file={self.authority.certificate}",
                f"--tls-cert-file={serving.certificate}",
                f"--tls-private-key-file={serving.key}",
                f"--kubelet-client-certificate={kubelet.certificate}",
                f"--kubelet-client-key={kubelet.key}",
                f"--kubelet-certificate-authority={self.authority.certificate}",
                # Node names are known to no DNS: exec and logs go to addresses.
                "--kubelet-preferred-address-types=InternalIP",
                f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
                f"--service-account-key-file={tokens.certificate}",
                f"--service-account-signing-key-file={tokens.key}",
                f"--requestheader-client-ca-file={front.certificate}",
                "--requestheader-allowed-names=front-proxy",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-username-headers=X-Remote-User",
                f"--proxy-client-cert-file={proxy.certificate}",
                f"--proxy-client-key-file={proxy.key}",
                f"--audit-policy-file={policy}",
                f"--audit-log-path={self.state.audit_log}",
                "--audit-log-maxsize=100",
                "--audit-log-maxbackup=1",
            ),
        )
        if not self.api.ready():
            with step("API server"):
                process.wait_ready(self.api.ready, timeout=_START_TIMEOUT)

    def _managers(self) -> None:
        """Start controller manager and scheduler, which need no leader election."""
        manager = kubeconfig.ensure(
            self.state,
            self.authority,
            "controller-manager",
            user="system:kube-controller-manager",
        )
        scheduler = kubeconfig.ensure(
            self.state, self.authority, "scheduler", user="system:kube-scheduler"
        )
        tokens = signing_key(self.state, "service-accounts")
        self._manager(
            "kube-controller-manager",
            f"--kubeconfig={manager}",
            f"--authentication-kubeconfig={manager}",
            f"--authorization-kubeconfig={manager}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--root-ca-file={self.authority.certificate}",
            f"--service-account-private-key-file={tokens.key}",
            f"--cluster-signing-cert-file={self.authority.certificate}",
            f"--cluster-signing-key-file={self.authority.key}",
            f"--cluster-cidr={POD_RANGE}",
            "--allocate-node-cidrs=false",
            f"--node-monitor-grace-period={NODE_GRACE_SECONDS}s",
        )
        self._manager(
            "kube-scheduler",
            f"--kubeconfig={scheduler}",
            f"--authentication-kubeconfig={scheduler}",
            f"--authorization-kubeconfig={scheduler}",
            "--leader-elect=false",
        )

    def _manager(self, name: str, *flags: str) -> Process:
        process, _ = self.machine.ensure_process(
            name, (str(self.state.bin / name), *flags)
        )
        return process
