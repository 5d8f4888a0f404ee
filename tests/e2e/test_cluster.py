"""The cluster under the tests is a real one: DNS, Services, Jobs, logs, exec."""

import json

import pytest

from tests.e2e.workspaces import Kubectl

SCRAPE = """
import socket, urllib.request
host = "pykaito-metrics.{operator}.svc"
print(socket.gethostbyname(host))
print(urllib.request.urlopen(f"http://{{host}}:8080/metrics", timeout=20).status)
"""


@pytest.mark.parametrize("node", ["gpu_node", "cpu_node"])
def test_a_job_on_each_node_reaches_a_service_by_its_name(
    kubectl: Kubectl,
    operator: str,
    images: dict[str, str],
    namespace: str,
    node: str,
    request: pytest.FixtureRequest,
) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "scrape"},
        "spec": {
            "backoffLimit": 3,
            "template": {
                "spec": {
                    "nodeName": request.getfixturevalue(node),
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "scrape",
                            "image": images["operator"],
                            "command": ["python3", "-c"],
                            "args": [SCRAPE.format(operator=operator)],
                        }
                    ],
                }
            },
        },
    }
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(job))
    kubectl(
        *("wait", "-n", namespace, "job/scrape", "--for=condition=Complete"),
        "--timeout=240s",
        timeout=270,
    )
    # A try that came too early has left its pod, with a log of its own.
    done = ("--field-selector=status.phase=Succeeded", "-l", "job-name=scrape")
    pod = kubectl("get", "pods", "-n", namespace, *done, "-o", "name").stdout.strip()
    address, status = kubectl("logs", "-n", namespace, pod).stdout.split()
    path = "jsonpath={.spec.clusterIP}"
    service = kubectl("get", "service", "pykaito-metrics", "-n", operator, "-o", path)
    assert (address, status) == (service.stdout, "200")


def test_a_command_runs_in_a_pod(kubectl: Kubectl, operator: str) -> None:
    done = kubectl("exec", "-n", operator, "deployment/pykaito", "--", "id", "-u")
    assert done.stdout.strip() == "65532"


def test_what_an_owner_leaves_is_collected(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "configmap", "owner", "-n", namespace)
    path = "jsonpath={.metadata.uid}"
    uid = kubectl("get", "configmap", "owner", "-n", namespace, "-o", path).stdout
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "child", "ownerReferences": [owner]},
    }
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(child))
    kubectl("delete", "configmap", "owner", "-n", namespace)
    kubectl(
        *("wait", "-n", namespace, "configmap/child", "--for=delete"), "--timeout=60s"
    )
