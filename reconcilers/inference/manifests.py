"""The objects that serve a model: pure functions of Workspace and plan."""

from collections.abc import Mapping, Sequence
from typing import Any

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object, controller_reference
from pykaito.runtime.presets.plan import GPU_RESOURCE, ModelServer, Plan

#: Where the model server listens, and where Services send 80 to.
SERVER_PORT = 5000
#: The second port of the Service; 0.4.1 used it for torch's rendezvous.
RENDEZVOUS_PORT = 29500
#: The user of the model images.
RUNTIME_UID = 65532

WEIGHTS = "/workspace/weights"
TOOLS = "/pykaito-tools"
#: The only folder that a confined server can write to.
TMP = "/tmp"  # noqa: S108 - a volume of the pod's own
#: The runtime's own copy of a static shell, see copy_weights.
BUSYBOX = "/usr/local/bin/busybox"

#: Where images keep weights: ours, KAITO's per-model images, and plain ones.
WEIGHT_FOLDERS = (
    WEIGHTS,
    "/workspace/tfs/weights",
    "/workspace/vllm/weights",
    "/models",
    "/data",
)

#: Seconds that requests in flight get to end when a pod is asked to stop.
DRAIN_SECONDS = 60
PROBE_PERIOD_SECONDS = 5

#: Runs inside the container before it gets SIGTERM: the server is a child of
#: `accelerate launch`, which passes no signal on, so it is told by its own pid. A
#: server that has not started yet has none, and is waited for.
DRAIN_SCRIPT = (
    "until pid=$(cat /tmp/inference_api.pid) && kill -TERM $pid; do sleep 0.2; done "
    "2>/dev/null; while kill -0 $pid 2>/dev/null; do sleep 0.2; done"
)


def service(workspace: Workspace, owner: Object) -> dict[str, Any]:
    """Return the Service that clients call: 80 to the model server."""
    exposed = workspace.metadata.annotations.get(labels.ENABLE_LOAD_BALANCER) == "True"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(workspace, owner),
        "spec": {
            "type": "LoadBalancer" if exposed else "ClusterIP",
            "selector": selector(workspace),
            "ports": [
                _port("http", 80, SERVER_PORT),
                _port("torch", RENDEZVOUS_PORT, RENDEZVOUS_PORT),
            ],
        },
    }


def deployment(
    workspace: Workspace,
    owner: Object,
    plan: Plan,
    *,
    nodes: Sequence[str],
    runtime_image: str,
) -> dict[str, Any]:
    """Return the Deployment: one replica of the model on each node.

    With fewer nodes than planned there are fewer replicas, since another one
    would find no GPUs.
    """
    server = plan.server
    if server is None:
        raise NotImplementedError
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(workspace, owner),
        "spec": {
            "replicas": min(plan.nodes, len(nodes)),
            "selector": {"matchLabels": selector(workspace)},
            # A replica takes the GPUs of its node: a surge pod would wait for
            # GPUs that the old pod holds.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "progressDeadlineSeconds": loading_seconds(server) + 600,
            "template": {
                "metadata": {"labels": selector(workspace)},
                "spec": _pod_spec(workspace, plan, server, nodes, runtime_image),
            },
        },
    }


def selector(workspace: Workspace) -> dict[str, str]:
    """Return the labels of the Workspace's pods."""
    return {labels.WORKSPACE: workspace.metadata.name}


def loading_seconds(server: ModelServer) -> int:
    """Return how long a model may take until it is loaded."""
    return server.preset.readiness_minutes * 60


def command(server: ModelServer) -> str:
    """Return the shell command that users may edit in the workload."""
    source = "" if server.weights_image else " --allow_remote_files"
    model = WEIGHTS if server.weights_image else server.preset.hub
    limited = server.context_length < server.preset.context_length
    limit = f" --max_model_len {server.context_length}" if limited else ""
    return (
        "accelerate launch --num_processes 1 --num_machines 1 --machine_rank 0 "
        "--gpu_ids all inference_api.py --pipeline text-generation "
        f"--torch_dtype {server.dtype} "
        f"--pretrained_model_name_or_path {model}{source} "
        f"--served_model_name {server.served_model_name}{limit}"
    )


def _pod_spec(
    workspace: Workspace,
    plan: Plan,
    server: ModelServer,
    nodes: Sequence[str],
    runtime_image: str,
) -> dict[str, Any]:
    resources = dict(plan.node_resources)
    health = {"httpGet": {"path": "/health", "port": "http"}}
    probe = {**health, "periodSeconds": PROBE_PERIOD_SECONDS, "timeoutSeconds": 5}
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": RUNTIME_UID,
            "runAsGroup": RUNTIME_UID,
            "fsGroup": RUNTIME_UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": DRAIN_SECONDS + 15,
        "affinity": affinity(nodes),
        "tolerations": [
            {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"},
            {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
        ],
        "initContainers": copy_weights(server, runtime_image),
        "containers": [
            {
                "name": workspace.metadata.name,
                "image": runtime_image,
                "workingDir": "/workspace/tfs",
                "command": ["/bin/sh", "-c", command(server)],
                "env": [
                    {"name": "HF_HOME", "value": f"{TMP}/huggingface"},
                    {"name": "HF_HUB_DISABLE_TELEMETRY", "value": "1"},
                    *(
                        [{"name": "HF_HUB_OFFLINE", "value": "1"}]
                        if server.weights_image
                        else []
                    ),
                ],
                "ports": [{"name": "http", "containerPort": SERVER_PORT}],
                "resources": {"requests": resources, "limits": resources},
                "startupProbe": {
                    **probe,
                    "failureThreshold": loading_seconds(server) // PROBE_PERIOD_SECONDS,
                },
                "readinessProbe": probe,
                "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
                "lifecycle": {
                    "preStop": {"exec": {"command": ["/bin/sh", "-c", DRAIN_SCRIPT]}}
                },
                "securityContext": CONFINED,
                "volumeMounts": [
                    {"name": "weights", "mountPath": WEIGHTS},
                    {"name": "tmp", "mountPath": TMP},
                    {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108 - a mount
                ],
            }
        ],
        "volumes": [
            {"name": "weights", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "dshm", "emptyDir": {"medium": "Memory"}},
        ],
    }
    if server.weights_image:
        spec["volumes"].append({"name": "tools", "emptyDir": {}})
    if plan.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in plan.image_pull_secrets]
    return spec


CONFINED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def copy_weights(server: ModelServer, runtime_image: str) -> list[dict[str, Any]]:
    """Return the init containers that bring the weights of a private image.

    The second runs the weights' own image, so that the kubelet pulls and caches
    it with the pod's pull secrets. Such an image may be FROM scratch and hold no
    command at all: the first puts a static shell where the second finds it.
    """
    if not server.weights_image:
        return []
    tools = {"name": "tools", "mountPath": TOOLS}
    target = "/mnt/weights"
    script = (
        f"for folder in {' '.join(WEIGHT_FOLDERS)}; do "
        f'if [ -e "$folder/config.json" ]; then exec {TOOLS}/busybox cp -r '
        f'"$folder/." {target}/; fi; done; '
        f"message='no config.json in {' or '.join(WEIGHT_FOLDERS)} of this image'; "
        'echo "$message" > /dev/termination-log; echo "$message" >&2; exit 1'
    )
    return [
        {
            "name": "copy-tool",
            "image": runtime_image,
            "command": [BUSYBOX, "cp", BUSYBOX, f"{TOOLS}/busybox"],
            "securityContext": CONFINED,
            "volumeMounts": [tools],
        },
        {
            "name": "weights",
            "image": server.weights_image,
            "command": [f"{TOOLS}/busybox", "sh", "-c", script],
            "securityContext": CONFINED,
            "volumeMounts": [tools, {"name": "weights", "mountPath": target}],
        },
    ]


def affinity(nodes: Sequence[str]) -> dict[str, Any]:
    """Bind pods to the nodes by name: nodes keep the labels they came with."""
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchFields": [
                            {
                                "key": "metadata.name",
                                "operator": "In",
                                "values": [node],
                            }
                        ]
                    }
                    for node in sorted(nodes)
                ]
            }
        }
    }


def _metadata(workspace: Workspace, owner: Object) -> dict[str, Any]:
    return {
        "name": workspace.metadata.name,
        "namespace": workspace.metadata.namespace,
        "labels": selector(workspace),
        "ownerReferences": [controller_reference(owner)],
    }


def _port(name: str, port: int, target: int) -> dict[str, Any]:
    return {"name": name, "port": port, "protocol": "TCP", "targetPort": target}


def bound_nodes(deployed: Object) -> list[str]:
    """Return the nodes that a Deployment's pods may run on, as it was applied.

    None when someone wrote an affinity of another form in its place.
    """
    pod = deployed["spec"]["template"]["spec"]
    node_affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    terms = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return sorted(
        node
        for term in terms.get("nodeSelectorTerms") or ()
        for field in term.get("matchFields") or ()
        for node in field.get("values") or ()
    )
