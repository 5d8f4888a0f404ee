"""Workspaces are checked before they are stored, and nothing depends on it."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from pykaito.operator.certificate_rotator import WebhookService
from pykaito.operator.certificates import LIFETIME, STAGED, Certificates, renewed
from tests.e2e.workspaces import Applied, Kubectl

pytestmark = pytest.mark.usefixtures("operator")

CONFIGURATION = ("validatingwebhookconfiguration", "pykaito-webhook")
VERSIONS = ["kaito.sh/v1alpha1", "kaito.sh/v1beta1"]


def workspace(preset: str = "falcon-7b", **resource: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"apps": "no-node-has-this"}}
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "admitted"},
        "resource": {"labelSelector": selector, **resource},
        "inference": {"preset": {"name": preset}},
    }


def refused(kubectl: Kubectl, namespace: str, obj: Any, *options: str) -> str:
    """Apply and return what kubectl says; empty if the object was taken."""
    done = kubectl(
        *("--namespace", namespace, "apply", "-f", "-", *options),
        stdin=json.dumps(obj),
        check=False,
    )
    return done.stderr if done.returncode else ""


@retry(
    stop=stop_after_delay(30),
    wait=wait_fixed(0.5),
    retry=retry_if_result(lambda x: not x),
)
def wait_refusing(kubectl: Kubectl, namespace: str) -> str:
    """Wait until the API server has heard of the webhook and its certificate."""
    return refused(kubectl, namespace, workspace("falcon-7"), "--dry-run=server")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelt_model_is_refused_at_apply_with_path_and_remedy(
    kubectl: Kubectl, namespace: str, version: str
) -> None:
    wait_refusing(kubectl, namespace)
    said = refused(kubectl, namespace, workspace("falcon-7") | {"apiVersion": version})
    assert said.startswith('The Workspace "admitted" is invalid: inference.preset.name')
    assert "falcon-7b" in said
    assert "docs/troubleshooting/PresetNotFound.md" in said
    assert not kubectl("-n", namespace, "get", "workspaces", "-o", "name").stdout


def test_a_model_that_exceeds_the_instance_type_is_refused(
    kubectl: Kubectl, namespace: str
) -> None:
    wait_refusing(kubectl, namespace)
    obj = workspace("falcon-40b", instanceType="Standard_NC6s_v3")
    said = refused(kubectl, namespace, obj)
    assert "docs/troubleshooting/ModelDoesNotFit.md" in said


def test_a_change_is_checked_too(kubectl: Kubectl, namespace: str) -> None:
    applied = Applied(kubectl, namespace, workspace())
    wait_refusing(kubectl, namespace)
    annotations = {"kaito.sh/performance-mode": "ludicrous"}
    metadata = {"name": applied.name, "annotations": annotations}
    said = refused(kubectl, namespace, workspace() | {"metadata": metadata})
    assert "metadata.annotations[kaito.sh/performance-mode]" in said


def test_what_is_missing_at_the_moment_is_a_warning(
    kubectl: Kubectl, namespace: str
) -> None:
    wait_refusing(kubectl, namespace)
    done = kubectl(
        *("-n", namespace, "apply", "--dry-run=server", "-f", "-"),
        stdin=json.dumps(workspace()),
    )
    assert "Warning: resource: 0 of 1 nodes qualify at the moment" in done.stderr
    assert "created" in done.stdout


@pytest.mark.serial
def test_with_the_operator_away_nothing_blocks_and_its_status_says_it_later(
    kubectl: Kubectl, operator: str, namespace: str
) -> None:
    sentence = wait_refusing(kubectl, namespace)
    where = ("-n", operator, "deployment/pykaito")
    kubectl("scale", *where, "--replicas=0")
    try:
        selector = "app.kubernetes.io/name=pykaito"
        kubectl(
            *("-n", operator, "wait", "pod", "-l", selector),
            *("--for=delete", "--timeout=60s"),
        )
        began = time.monotonic()
        applied = Applied(kubectl, namespace, workspace("falcon-7"))
        assert time.monotonic() - began < 20
    finally:
        kubectl("scale", *where, "--replicas=1")
        kubectl("rollout", "status", *where, "--timeout=120s")
    message = applied.wait_reason("Ready", "PresetNotFound")
    assert message.partition(": ")[2].strip() in sentence
    assert applied.get("machines") == []
    assert applied.get("deployments") == []


@pytest.mark.serial
def test_a_cleared_ca_bundle_is_put_back(kubectl: Kubectl, namespace: str) -> None:
    wait_refusing(kubectl, namespace)
    path = "/webhooks/0/clientConfig/caBundle"
    kubectl(
        *("patch", *CONFIGURATION, "--type=json", "-p"),
        json.dumps([{"op": "remove", "path": path}]),
    )
    # The API server may refuse by what it knew before.
    wait_trusted(kubectl)
    wait_refusing(kubectl, namespace)
    managers = json.loads(
        kubectl("get", *CONFIGURATION, "--show-managed-fields", "-o", "json").stdout
    )["metadata"]["managedFields"]
    assert "pykaito-webhook" in {manager["manager"] for manager in managers}


@pytest.mark.serial
def test_a_renewal_leaves_no_moment_in_which_nothing_is_checked(
    kubectl: Kubectl, operator: str, namespace: str
) -> None:
    service = WebhookService(namespace=operator, name="pykaito-webhook")
    # As if it had been staged some time ago, by an operator that went away then.
    staged_at = datetime.now(UTC) - STAGED - timedelta(minutes=1)
    old = renewed({}, host=service.host, now=staged_at - LIFETIME * 2 / 3)
    staged = renewed(old.to_data(), host=service.host, now=staged_at)
    store(kubectl, service, staged)
    wait_trusted(kubectl, staged.bundle)
    wait_refusing(kubectl, namespace)
    assert staged.upcoming is not None
    renewing_ends = time.monotonic() + 150
    while "next.crt" in (data := stored(kubectl, service)):
        assert time.monotonic() < renewing_ends, "the next certificate is not served"
        assert refused(kubectl, namespace, workspace("falcon-7"), "--dry-run=server")
    assert data["tls.crt"] == staged.upcoming.certificate
    for _ in range(10):
        assert refused(kubectl, namespace, workspace("falcon-7"), "--dry-run=server")


@retry(
    stop=stop_after_delay(90),
    wait=wait_fixed(0.5),
    retry=retry_if_result(lambda x: not x),
)
def wait_trusted(kubectl: Kubectl, bundle: bytes | None = None) -> bool:
    """Wait until the API server is told to trust authorities, or just these.

    ``kubectl wait`` cannot: it splits its argument at the padding of base64.
    """
    found = kubectl("get", *CONFIGURATION, "-o", "json")
    client = json.loads(found.stdout)["webhooks"][0]["clientConfig"]
    told = base64.b64decode(client.get("caBundle", ""))
    return told == bundle if bundle else bool(told)


def stored(kubectl: Kubectl, service: WebhookService) -> dict[str, bytes]:
    found = kubectl(
        "-n", service.namespace, "get", "secret", service.secret, "-o", "json"
    )
    data = json.loads(found.stdout)["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def store(
    kubectl: Kubectl, service: WebhookService, certificates: Certificates
) -> None:
    data = {k: base64.b64encode(v).decode() for k, v in certificates.to_data().items()}
    kubectl(
        *("-n", service.namespace, "patch", "secret", service.secret, "-p"),
        json.dumps({"data": data}),
    )
