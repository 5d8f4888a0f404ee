"""Workspaces as the end-to-end tests apply them, and what to wait for."""

import contextlib
import json
import re
import subprocess
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


def prepared(
    obj: dict[str, Any], *, node: str, weights: str, name: str | None = None
) -> dict[str, Any]:
    """Return the Workspace on a prepared node, with the weights of an image."""
    obj["metadata"]["name"] = name or obj["metadata"]["name"]
    obj["resource"]["preferredNodes"] = [node]
    obj["inference"]["preset"] |= {
        "accessMode": "private",
        "presetOptions": {"image": weights},
    }
    return obj


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

    def wait(self, until: str, seconds: float = 60) -> None:
        """Wait for what ``kubectl wait --for`` understands."""
        self.kubectl(
            *("wait", f"workspace/{self.name}", f"--for={until}"),
            f"--timeout={seconds:.0f}s",
            timeout=seconds + 30,
        )

    def wait_serving(self) -> None:
        """Wait until the model is served."""
        self.wait("condition=Ready=True", SERVING_SECONDS)

    def wait_reason(self, condition: str, reason: str, seconds: float = 60) -> str:
        """Wait until a condition has the reason; return its message."""
        path = f'.status.conditions[?(@.type=="{condition}")]'
        self.wait(f"jsonpath={{{path}.reason}}={reason}", seconds)
        return self.kubectl(
            "get", "workspace", self.name, "-o", f"jsonpath={{{path}.message}}"
        )

    def get(self, kind: str) -> list[dict[str, Any]]:
        """Return the Workspace's objects of a kind."""
        listed = self.kubectl(
            *("get", kind, "-l", f"kaito.sh/workspace={self.name}", "-o", "json")
        )
        items: list[dict[str, Any]] = json.loads(listed)["items"]
        return items

    @retry(stop=stop_after_delay(60), wait=wait_fixed(0.5), retry=retry_if_result(_no))
    def wait_event(self, reason: str, text: str) -> bool:
        """Wait for an Event of the reason whose note holds the text."""
        return text in self.events().get(reason, "")

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
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, f"kubectl port-forward said: {line!r}"
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
