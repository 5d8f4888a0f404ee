"""Install the operator of this checkout into the cluster, with its Helm chart."""

import json
import subprocess
from pathlib import Path

from hack import paths
from hack.cluster.commands import ClusterError
from hack.cluster.progress import step
from hack.hub import ENDPOINT, ensure_hub
from hack.images.catalogue import ALL, VLLM
from hack.images.delivery import deliver

NAMESPACE = "pykaito-system"
RELEASE = "pykaito"
CHART = paths.ROOT / "manifests" / "chart"
TIMEOUT_SECONDS = 180
NO_GPU = {"key": "nvidia.com/gpu.present", "operator": "DoesNotExist"}


def deliver_images() -> dict[str, str]:
    """Bring every image to the nodes; return each one's reference by name."""
    return {name: deliver(image) for name, image in ALL.items()}


def values(images: dict[str, str]) -> dict[str, object]:
    """Return the chart's values for these images."""
    operator, _, tag = images["operator"].rpartition(":")
    runtime, _, runtime_tag = images["transformers"].rpartition(":")
    # The name that it has once it is there; only a test that needs it brings it.
    vllm = f"{operator.rpartition('/')[0]}/{VLLM.name}"
    return {
        "image": {"repository": operator, "tag": tag},
        "runtimes": {
            # This cluster's machines have no GPU, though some nodes say so.
            "default": "transformers",
            "vllm": {"image": {"repository": vllm, "tag": VLLM.tag}},
            "transformers": {"image": {"repository": runtime, "tag": runtime_tag}},
        },
        "hub": {"endpoint": ENDPOINT},
        # Model servers take all of a node's cores while they load: the operator has
        # its share, and where it can be, nodes of its own.
        "resources": {"requests": {"cpu": "500m"}},
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 100, "preference": {"matchExpressions": [NO_GPU]}}
                ]
            }
        },
        # A node that is busy with the tests may keep the webhook waiting.
        "webhook": {"timeoutSeconds": 15},
        # Karpenter is there only in tests, and then with this provider.
        "karpenter": {
            "nodeClass": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass"}
        },
    }


def helm(kubeconfig: Path, *args: str, stdin: str | None = None) -> str:
    """Run helm and return what it printed.

    Raises:
        ClusterError: helm failed; the message is its own.
    """
    command = [paths.tool("helm"), "--kubeconfig", str(kubeconfig), *args]
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS + 60,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"helm {args[0]}: {done.stderr.strip()}")
    return done.stdout


def install(kubeconfig: Path, images: dict[str, str]) -> None:
    """Install or upgrade the release and wait until the operator is ready.

    Its models are those of the stand-in for a hub, which is brought up too.

    Raises:
        ClusterError: it did not become ready in time; the message is helm's.
    """
    ensure_hub(kubeconfig)
    with step("helm install"):
        helm(
            kubeconfig,
            *("upgrade", "--install", RELEASE, str(CHART)),
            *("--namespace", NAMESPACE, "--create-namespace"),
            # CRDs may be there already, from the tests or from `kubectl apply`.
            "--take-ownership",
            *("--values", "-", "--wait", "--timeout", f"{TIMEOUT_SECONDS}s"),
            stdin=json.dumps(values(images)),
        )
