"""An API server that judges by our CRDs alone: no webhook, no operator."""

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from hack import paths
from pykaito.api.violation import Violation
from tests.e2e.crds.waiting import wait_established

Kubectl = Callable[..., subprocess.CompletedProcess[str]]
Object = Mapping[str, Any]

CRDS = Path(__file__).parents[3] / "manifests" / "crds"

DRY = {"dryRun": "All"}

#: What the API server adds where it did not come to evaluate rules.
NOT_CHECKED = "some validation rules were not checked"

#: What it says of a value before the sentence, which our own leave out for rules.
_INVALID = re.compile(r'Invalid value: "[a-z]+": ', re.DOTALL)


class SchemaServer:
    """The CRDs under a group of its own, so that nobody else has a say."""

    def __init__(self, http: httpx.Client, group: str, namespace: str) -> None:
        self._http = http
        self._group = group
        self._namespace = namespace

    def refusals(self, obj: Object, old: Object | None = None) -> list[Violation]:
        """Try to create an object, or to put it in another's place, and say why not."""
        if old is None:
            answer = self._http.post(self._path(obj), params=DRY, json=self._own(obj))
            return faults(answer)
        made = self._http.post(self._path(old), json=self._own(old))
        assert made.is_success, made.text
        stored = made.json()
        where = f"{self._path(obj)}/{stored['metadata']['name']}"
        version = stored["metadata"]["resourceVersion"]
        try:
            body = self._own(obj)
            body["metadata"] = {**body["metadata"], "resourceVersion": version}
            return faults(self._http.put(where, params=DRY, json=body))
        finally:
            self._http.delete(where)

    def _path(self, obj: Object) -> str:
        version = obj["apiVersion"].partition("/")[2]
        plural = f"{obj['kind'].lower()}s"
        return f"/apis/{self._group}/{version}/namespaces/{self._namespace}/{plural}"

    def _own(self, obj: Object) -> dict[str, Any]:
        version = obj["apiVersion"].partition("/")[2]
        return {**obj, "apiVersion": f"{self._group}/{version}"}


def faults(answer: httpx.Response) -> list[Violation]:
    """Return what the API server has against a write; nothing if it was done."""
    if answer.is_success:
        return []
    status = answer.json()
    causes = (status.get("details") or {}).get("causes") or [
        {"field": "", "message": status["message"]}
    ]
    return [
        Violation(cause.get("field", ""), cause["message"])
        for cause in causes
        if NOT_CHECKED not in cause["message"]
    ]


def says(refusal: Violation, violation: Violation) -> bool:
    """Whether the API server's words are ours, but for the name of a value's type."""
    ours = {violation.message, *_INVALID.split(violation.message)}
    return refusal.path == violation.path and (
        refusal.message in ours or _INVALID.sub("", refusal.message, 1) in ours
    )


@contextmanager
def schema_server(kubectl: Kubectl, kubeconfig: Path) -> Iterator[SchemaServer]:
    """Serve the CRDs of the working tree under a new group, for a while."""
    name = f"schema-{uuid.uuid4().hex[:8]}"
    group = f"{name}.example.com"
    definitions = []
    for path in CRDS.glob("*.yaml"):
        crd = yaml.safe_load(path.read_text())
        names = crd["spec"]["names"]
        crd["metadata"]["name"] = f"{names['plural']}.{group}"
        crd["spec"]["group"] = group
        crd["spec"]["names"] = {"kind": names["kind"], "plural": names["plural"]}
        definitions.append(crd)
    listed = {"apiVersion": "v1", "kind": "List", "items": definitions}
    kubectl("create", "namespace", name)
    kubectl("create", "-f", "-", stdin=json.dumps(listed))
    try:
        for crd in definitions:
            assert wait_established(kubectl, f"crd/{crd['metadata']['name']}")
        with (
            proxy(kubeconfig) as address,
            httpx.Client(base_url=address, timeout=30) as http,
        ):
            yield SchemaServer(http, group, name)
    finally:
        for crd in definitions:
            kubectl("delete", "crd", crd["metadata"]["name"], "--wait=false")
        kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def proxy(kubeconfig: Path) -> Iterator[str]:
    """Speak to the API server with the kubeconfig's credentials, without TLS."""
    command = [paths.kubectl(), "--kubeconfig", str(kubeconfig), "proxy", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().rpartition(" ")[2].strip()
            assert address, "kubectl proxy ended"
            yield f"http://{address}"
        finally:
            process.terminate()
