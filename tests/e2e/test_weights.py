"""Weights from a claim, from the node and from a cache; images that are mounted.

One Workspace goes through the first three, in the order of the tests: each change of
its annotations loads the model anew. The folders are those of a node, which pods fill
and clear.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hack.weights import deliver_model
from tests.e2e.workspaces import (
    SERVING_SECONDS,
    Applied,
    Kubectl,
    example,
    port_forward,
    prepared,
)

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(900)]

UNIQUE = f"weights-{uuid.uuid4().hex[:8]}"
#: On the node; what is in its folder of models is found by a preset's name.
FOLDER = f"/opt/kaito/{UNIQUE}"
LOCAL = "/opt/kaito/models/phi-3.5-mini-instruct"
LOCAL_WEIGHTS = "kaito.sh/use-local-weights"
WEIGHTS_CLAIM = "kaito.sh/weights-claim"
CACHE_CLAIM = "kaito.sh/cache-claim"
MOUNT_IMAGE = "kaito.sh/mount-weights-image"
#: Nobody listens there.
NO_HUB = "http://localhost:9"

RunOnNode = Callable[[str], None]


@pytest.fixture(scope="module")
def on_node(
    kubectl: Kubectl, gpu_node: str, images: dict[str, str]
) -> Iterator[RunOnNode]:
    """Run a shell script as root in the image of weights, /opt/kaito of the node."""
    kubectl("create", "namespace", UNIQUE)
    weights = deliver_model("phi3").reference
    tools = {"name": "tools", "mountPath": "/tools"}
    busybox = "/usr/local/bin/busybox"

    def run(script: str) -> None:
        name = f"run-{uuid.uuid4().hex[:8]}"
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": UNIQUE},
            "spec": {
                "nodeName": gpu_node,
                "restartPolicy": "Never",
                "initContainers": [
                    {
                        "name": "copy-tool",
                        "image": images["transformers"],
                        "command": [busybox, "cp", busybox, "/tools/"],
                        "volumeMounts": [tools],
                    }
                ],
                "containers": [
                    {
                        "name": "run",
                        "image": weights,
                        "command": ["/tools/busybox", "sh", "-ec", script],
                        "securityContext": {"runAsUser": 0},
                        "volumeMounts": [
                            tools,
                            {"name": "kaito", "mountPath": "/opt/kaito"},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "tools", "emptyDir": {"medium": "Memory"}},
                    {
                        "name": "kaito",
                        "hostPath": {"path": "/opt/kaito", "type": "DirectoryOrCreate"},
                    },
                ],
            },
        }
        kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        kubectl(
            *("wait", "-n", UNIQUE, f"pod/{name}", ended),
            # Its images may have to be pulled first.
            f"--timeout={SERVING_SECONDS}s",
            timeout=SERVING_SECONDS + 30,
        )

    try:
        yield run
    finally:
        tool = "/tools/busybox"
        run(
            f"{tool} rm -rf {FOLDER} {LOCAL}; "
            f"{tool} rmdir /opt/kaito/models || {tool} true"
        )
        kubectl("delete", "namespace", UNIQUE, "--wait=false")


@pytest.fixture(scope="module")
def workspace(kubectl: Kubectl, gpu_node: str, on_node: RunOnNode) -> Iterator[Applied]:
    """A Workspace whose weights are on a claim that is not there."""
    on_node(
        # Left by a run that was interrupted.
        f"/tools/busybox rm -rf {LOCAL} && "
        f"/tools/busybox mkdir -p {FOLDER}/models/phi {FOLDER}/kept && "
        f"/tools/busybox cp -r /workspace/weights/. {FOLDER}/models/phi/ && "
        f"/tools/busybox chown 65532 {FOLDER}/kept"
    )
    obj = prepared(example("phi-3.5-mini-instruct.yaml"), node=gpu_node)
    obj["metadata"]["annotations"] = {WEIGHTS_CLAIM: "models/phi"}
    try:
        yield Applied(kubectl, UNIQUE, obj)
    finally:
        kubectl("delete", "workspaces", "--all", "-n", UNIQUE, "--timeout=60s")
        kubectl("delete", "pv", f"{UNIQUE}-models", f"{UNIQUE}-kept", "--wait=false")


def create_claim(kubectl: Kubectl, name: str) -> None:
    """Create a claim and its volume, which is a folder of the node that pods are on."""
    shared: dict[str, Any] = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{UNIQUE}-{name}"},
        "spec": shared
        | {
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": f"{FOLDER}/{name}", "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": UNIQUE},
        "spec": shared
        | {
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": f"{UNIQUE}-{name}",
        },
    }
    for obj in (volume, claim):
        kubectl("apply", "-f", "-", stdin=json.dumps(obj))


def container(workspace: Applied) -> dict[str, Any]:
    (deployment,) = workspace.get("deployments")
    pod = deployment["spec"]["template"]["spec"]
    assert not pod.get("initContainers")
    (found,) = pod["containers"]
    return dict(found)


def answer(kubeconfig: Path, workspace: Applied) -> str:
    body = {"prompt": "What is Kubernetes?", "max_tokens": 4, "temperature": 0}
    target = f"service/{workspace.name}"
    with port_forward(kubeconfig, workspace.namespace, target, 80) as url:
        found = httpx.post(f"{url}/v1/completions", json=body, timeout=120)
    return str(found.raise_for_status().json()["choices"][0]["text"])


@pytest.fixture(scope="module")
def answers() -> set[str]:
    """What the model said, wherever its weights came from."""
    return set()


def test_a_claim_that_is_missing_is_named_and_serves_once_it_is_there(
    kubectl: Kubectl,
    kubeconfig: Path,
    workspace: Applied,
    answers: set[str],
) -> None:
    message = workspace.wait_reason("InferenceReady", "Unschedulable")
    assert f"PersistentVolumeClaim models (annotation {WEIGHTS_CLAIM})" in message
    create_claim(kubectl, "models")
    workspace.wait_serving()
    (mount,) = (
        m for m in container(workspace)["volumeMounts"] if m["name"] == "weights"
    )
    assert (mount["subPath"], mount["readOnly"]) == ("phi", True)
    answers.add(answer(kubeconfig, workspace))


def test_a_node_without_the_folder_is_named_and_serves_once_it_has_it(
    kubeconfig: Path,
    gpu_node: str,
    workspace: Applied,
    on_node: RunOnNode,
    answers: set[str],
) -> None:
    workspace.kubectl(
        *("annotate", "workspace", workspace.name),
        *(f"{WEIGHTS_CLAIM}-", f"{LOCAL_WEIGHTS}=true"),
    )
    message = workspace.wait_reason("InferenceReady", "ContainerStartError")
    assert f"node {gpu_node} has no folder {LOCAL}" in message
    on_node(
        f"/tools/busybox mkdir -p {LOCAL} && "
        f"/tools/busybox cp -r /workspace/weights/. {LOCAL}/"
    )
    workspace.roll_out(revision=2)
    answers.add(answer(kubeconfig, workspace))
    assert len(answers) == 1


def test_what_was_downloaded_once_is_served_without_the_hub(
    kubectl: Kubectl,
    kubeconfig: Path,
    workspace: Applied,
    answers: set[str],
) -> None:
    create_claim(kubectl, "kept")
    workspace.kubectl(
        *("annotate", "workspace", workspace.name),
        *(f"{LOCAL_WEIGHTS}-", f"{CACHE_CLAIM}=kept"),
    )
    workspace.roll_out(revision=3)
    assert "--allow_remote_files" in " ".join(container(workspace)["command"])
    workspace.kubectl(
        *("set", "env", f"deployment/{workspace.name}", f"HF_ENDPOINT={NO_HUB}")
    )
    workspace.roll_out(revision=4)
    variables = {v["name"]: v.get("value") for v in container(workspace)["env"]}
    assert variables["HF_ENDPOINT"] == NO_HUB
    answers.add(answer(kubeconfig, workspace))
    assert len(answers) == 1


def test_an_image_is_mounted_or_the_cluster_is_said_not_to(
    kubectl: Kubectl, kubeconfig: Path, gpu_node: str, namespace: str
) -> None:
    obj = prepared(
        example("phi-3.5-mini-instruct.yaml"),
        node=gpu_node,
        weights=deliver_model("phi3").reference,
    )
    obj["metadata"]["annotations"] = {MOUNT_IMAGE: "true"}
    applied = Applied(kubectl, namespace, obj)
    if mounts_images(kubectl, namespace):
        applied.wait_serving()
        assert not applied.get("pods")[0]["spec"].get("initContainers")
        assert answer(kubeconfig, applied)
    else:
        applied.wait_reason("InferenceReady", "ImageVolumesNotSupported")


def mounts_images(kubectl: Kubectl, namespace: str) -> bool:
    """Whether the API server keeps a volume that is an image."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "mounts", "namespace": namespace},
        "spec": {
            "containers": [{"name": "a", "image": "a.invalid/a:1"}],
            "volumes": [{"name": "a", "image": {"reference": "a.invalid/a:1"}}],
        },
    }
    options = ("--dry-run=server", "-o", "json", "-f", "-")
    made = json.loads(kubectl("create", *options, stdin=json.dumps(pod)).stdout)
    return any("image" in volume for volume in made["spec"]["volumes"])
