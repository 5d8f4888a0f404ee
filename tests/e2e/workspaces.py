"""Workspaces as the end-to-end tests apply them, and what to wait for."""

import contextlib
import json
import re
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from hack import paths

Kubectl = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLES = paths.ROOT / "manifests" / "examples"

#: A model on two busy cores is loaded within this, images pulled included.
SERVING_SECONDS = 300


def example(name: str) -> dict[str, Any]:
    """Return an example of the repository as it is."""
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    return loaded


def prepared(obj: dict[str, Any], *, node: str, weights: str = "") -> dict[str, Any]:
    """Return the Workspace on a prepared node, with the weights of an image if given.

    It asks for no label: tests that run meanwhile share the node, and the examples'
    selectors ask for other values of the same label.
    """
    obj["resource"] |= {"preferredNodes": [node], "labelSelector": {"matchLabels": {}}}
    if weights:
        obj["inference"]["preset"] |= {
            "accessMode": "private",
            "presetOptions": {"image": weights},
        }
    return obj


def on_cpus(
    node: str, preset: dict[str, Any], *, runtime: str = "", **inference: Any
) -> dict[str, Any]:
    """Return a Workspace that the CPUs of a node serve, with a ConfigMap's settings.

    Args:
        node: that is to serve it.
        preset: its model.
        runtime: that is to serve it; empty for the operator's default.
        inference: what else there is to say of how it is served.
    """
    annotations = {"kaito.sh/accelerator": "cpu"}
    if runtime:
        annotations["kaito.sh/runtime"] = runtime
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "small", "annotations": annotations},
        "resource": {
            "labelSelector": {"matchLabels": {}},
            "preferredNodes": [node],
        },
        "inference": {"preset": preset, "config": "settings", **inference},
    }


def settings(text: str) -> dict[str, Any]:
    """Return the ConfigMap ``settings`` that a Workspace may name as its config."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"inference_config.yaml": text},
    }


@contextlib.contextmanager
def own_namespace(kubectl: Kubectl, prefix: str) -> Iterator[str]:
    """Yield a new namespace; it and all that is in it go afterwards."""
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def _no(answer: bool) -> bool:
    return not answer


class Live:
    """A Workspace in a namespace, as kubectl shows it."""

    def __init__(self, kubectl: Kubectl, namespace: str, name: str) -> None:
        self._kubectl = kubectl
        self.namespace = namespace
        self.name = name

    def kubectl(self, *args: str, **options: Any) -> str:
        """Run kubectl in the namespace and return what it printed."""
        return self._kubectl("--namespace", self.namespace, *args, **options).stdout

    def wait(self, until: str, seconds: float = 60, *options: str) -> str:
        """Wait for what ``kubectl wait --for`` understands; return what it printed."""
        return self.kubectl(
            *("wait", f"workspace/{self.name}", f"--for={until}"),
            *(f"--timeout={seconds:.0f}s", *options),
            timeout=seconds + 30,
        )

    def wait_serving(self) -> None:
        """Wait until the model is served."""
        self.wait("condition=Ready=True", SERVING_SECONDS)

    def wait_reason(self, condition: str, reason: str, seconds: float = 60) -> str:
        """Wait until a condition has the reason; return its message."""
        path = f'.status.conditions[?(@.type=="{condition}")]'
        until = f"jsonpath={{{path}.reason}}={reason}"
        # Of the version that has the reason: the next may have another.
        return self.wait(until, seconds, "-o", f"jsonpath={{{path}.message}}")

    def roll_out(self, revision: int, seconds: float = SERVING_SECONDS) -> None:
        """Wait until a revision of the Deployment is there and serves."""
        path = r"{.metadata.annotations.deployment\.kubernetes\.io/revision}"
        target = f"deployment/{self.name}"
        self.kubectl(
            "wait", target, f"--for=jsonpath={path}={revision}", "--timeout=60s"
        )
        self.kubectl(
            *("rollout", "status", target, f"--timeout={seconds:.0f}s"),
            timeout=seconds + 30,
        )

    def get(self, kind: str) -> list[dict[str, Any]]:
        """Return the Workspace's objects of a kind."""
        listed = self.kubectl(
            *("get", kind, "-l", f"kaito.sh/workspace={self.name}", "-o", "json")
        )
        items: list[dict[str, Any]] = json.loads(listed)["items"]
        return items

    @retry(stop=stop_after_delay(60), wait=wait_fixed(0.5), retry=retry_if_result(_no))
    def wait_event(self, reason: str, text: str = "") -> bool:
        """Wait for an Event of the reason whose note holds the text.

        It comes after the condition of that reason, at some time.
        """
        return reason in (told := self.events()) and text in told[reason]

    def events(self) -> dict[str, str]:
        """Return the notes of the Workspace's Events by their reason."""
        found = json.loads(self.kubectl("get", "events.events.k8s.io", "-o", "json"))
        return {
            event["reason"]: event["note"]
            for event in found["items"]
            if event["regarding"]["name"] == self.name
        }


class Applied(Live):
    """A Workspace that is applied with it."""

    def __init__(self, kubectl: Kubectl, namespace: str, obj: dict[str, Any]) -> None:
        super().__init__(kubectl, namespace, obj["metadata"]["name"])
        self.kubectl("apply", "-f", "-", stdin=json.dumps(obj))


@contextlib.contextmanager
def port_forward(
    kubeconfig: Path, namespace: str, target: str, port: int
) -> Iterator[str]:
    """Yield an address of this machine that reaches a port of the target."""
    command = [paths.kubectl(), "--kubeconfig", str(kubeconfig), "-n", namespace]
    command += ["port-forward", target, f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        # A line for each connection: with some thousands the pipe would be full, and
        # kubectl wait for it to be read.
        rest = threading.Thread(target=process.stdout.read)
        rest.start()
        try:
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, f"kubectl port-forward said: {line!r}"
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            rest.join()
