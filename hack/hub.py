"""A stand-in for the hub of models, on the cluster, with small models in it.

The catalogue's public presets name models that only the outside has. Here they are
found under their published names, and are small models of the same architecture
with random weights: what is shown is that they are found, downloaded and served.
"""

import json
from pathlib import Path
from typing import Any

from hack.cluster.progress import step
from hack.images.catalogue import HUB
from hack.images.delivery import deliver
from hack.kubectl import kubectl
from hack.weights import deliver_model

NAMESPACE = "pykaito-hub"
ENDPOINT = f"http://hub.{NAMESPACE}.svc"
#: What is found there, by the architecture of hack.models that it has.
MODELS = {
    "falcon": ("tiiuae/falcon-7b", "tiiuae/falcon-7b-instruct"),
    "phi3": (
        "microsoft/Phi-3-mini-4k-instruct",
        "microsoft/Phi-3-mini-128k-instruct",
        "microsoft/Phi-3.5-mini-instruct",
    ),
}
#: Bytes per second: a download of five megabytes that can be watched, and that the
#: operator asks for two times at least, even if it gets no answer once.
SLOW = {"microsoft/Phi-3-mini-4k-instruct": 200_000}

_PORT = 8080
_ROLLOUT_SECONDS = 180
_TOOLS = "/tools"
_FOLDER = "/models"
_LABELS = {"app": "hub"}


def ensure_hub(kubeconfig: Path) -> str:
    """Bring up the hub unless it is there; return its address for pods.

    Raises:
        ClusterError: It did not start in time; the message is kubectl's.
    """
    weights = {name: deliver_model(name).reference for name in MODELS}
    wanted = manifests(deliver(HUB), weights)
    with step("stand-in for the model hub"):
        kubectl(kubeconfig, "apply", "-f", "-", stdin=json.dumps(wanted))
        kubectl(
            kubeconfig,
            *("rollout", "status", "deployment/hub", "-n", NAMESPACE),
            f"--timeout={_ROLLOUT_SECONDS}s",
            timeout=_ROLLOUT_SECONDS + 30,
        )
    return ENDPOINT


def manifests(image: str, weights: dict[str, str]) -> dict[str, Any]:
    """Return the hub's objects.

    Args:
        image: Its server.
        weights: An image with a model's files by its architecture.
    """
    served = [
        f"{model}={_FOLDER}/{name}"
        for name, models in MODELS.items()
        for model in models
    ]
    slow = [f"--slow={model}={rate}" for model, rate in SLOW.items()]
    confined = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]},
    }
    tools = {"name": "tools", "mountPath": _TOOLS}
    folder = {"name": "models", "mountPath": _FOLDER}
    server = {
        "name": "hub",
        "image": image,
        "args": [f"--port={_PORT}", *slow, *served],
        "ports": [{"name": "http", "containerPort": _PORT}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 2},
        "securityContext": confined,
        "volumeMounts": [{**folder, "readOnly": True}],
    }
    copy_tool = {
        "name": "copy-tool",
        "image": image,
        "command": ["busybox", "cp", "/usr/local/bin/busybox", f"{_TOOLS}/"],
        "securityContext": confined,
        "volumeMounts": [tools],
    }
    copies = [
        {
            "name": f"copy-{name}",
            "image": reference,
            "command": [f"{_TOOLS}/busybox", "cp", "-r"],
            "args": ["/workspace/weights", f"{_FOLDER}/{name}"],
            "securityContext": confined,
            "volumeMounts": [tools, folder],
        }
        for name, reference in weights.items()
    ]
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "initContainers": [copy_tool, *copies],
        "containers": [server],
        "volumes": [
            {"name": "tools", "emptyDir": {}},
            {"name": "models", "emptyDir": {}},
        ],
    }
    metadata = {"name": "hub", "namespace": NAMESPACE}
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": NAMESPACE},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "selector": {"matchLabels": _LABELS},
                    "template": {"metadata": {"labels": _LABELS}, "spec": pod},
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {
                    "selector": _LABELS,
                    "ports": [{"port": 80, "targetPort": "http"}],
                },
            },
        ],
    }
