"""A Workspace answers: from `kubectl apply` to OpenAI clients and curl."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from hack.weights import deliver_model
from tests.e2e.workspaces import (
    Applied,
    Kubectl,
    example,
    own_namespace,
    port_forward,
    prepared,
)

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(600)]

#: Example, architecture, the name that clients use, whether pulling needs a login.
MODELS = {
    "falcon-7b": ("falcon-7b.yaml", "falcon", "falcon-7b", False),
    "phi-3.5": ("phi-3.5-mini-instruct.yaml", "phi3", "phi-3.5-mini-instruct", True),
}
PULL_SECRET = "registry-login"

Model = tuple[str, str, str, bool]


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]


@pytest.fixture(scope="module")
def serving(kubectl: Kubectl, gpu_node: str, model: Model) -> Iterator[Applied]:
    """The documented Workspace on a prepared node, once its model is served."""
    file, architecture, _, private = model
    weights = deliver_model(architecture, private=private)
    obj = prepared(example(file), node=gpu_node, weights=weights.reference)
    with own_namespace(kubectl, f"serving-{architecture}") as namespace:
        if login := weights.login:
            options = obj["inference"]["preset"]["presetOptions"]
            options["imagePullSecrets"] = [PULL_SECRET]
            kubectl(
                *("create", "secret", "docker-registry", PULL_SECRET, "-n", namespace),
                f"--docker-server={login.address}",
                f"--docker-username={login.username}",
                f"--docker-password={login.password}",
            )
        applied = Applied(kubectl, namespace, obj)
        applied.wait_serving()
        yield applied


@pytest.fixture
def url(kubeconfig: Path, serving: Applied) -> Iterator[str]:
    target = f"service/{serving.name}"
    with port_forward(kubeconfig, serving.namespace, target, 80) as address:
        yield address


def test_the_table_turns_true_in_the_documented_columns(serving: Applied) -> None:
    header, row = serving.kubectl("get", "workspace", serving.name).splitlines()
    assert header.split() == [
        *("NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY"),
        *("JOBSTARTED", "WORKSPACESUCCEEDED", "AGE"),
    ]
    assert row.split()[2:5] == ["True", "True", "True"]


def test_the_story_is_told_in_events(serving: Applied) -> None:
    for reason in ("MachineCreated", "NodesReady", "WorkloadCreated", "Ready"):
        serving.wait_event(reason)


def test_the_service_has_the_documented_ports(serving: Applied) -> None:
    (service,) = serving.get("services")
    assert service["metadata"]["name"] == serving.name
    assert [port["port"] for port in service["spec"]["ports"]] == [80, 29500]


def test_the_models_are_listed_as_documented(url: str, model: Model) -> None:
    listed = httpx.get(f"{url}/v1/models", timeout=60).raise_for_status().json()
    assert listed["object"] == "list"
    (card,) = listed["data"]
    assert card["id"] == model[2]
    assert {"object", "created", "owned_by", "root", "parent", "max_model_len"} <= (
        card.keys()
    )


def test_an_openai_client_gets_a_chat_completion(url: str, model: Model) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120)
    answer = client.chat.completions.create(
        model=model[2],
        messages=[{"role": "user", "content": "What is Kubernetes?"}],
        max_tokens=4,
        temperature=0,
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 4
    assert answer.choices[0].finish_reason in {"length", "stop"}


def test_an_openai_client_streams_a_completion(url: str, model: Model) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120)
    whole = client.completions.create(
        model=model[2], prompt="What is kubernetes?", max_tokens=7, temperature=0
    )
    pieces = client.completions.create(
        model=model[2],
        prompt="What is kubernetes?",
        max_tokens=7,
        temperature=0,
        stream=True,
    )
    streamed = "".join(c.choices[0].text for c in pieces if c.choices)
    assert streamed == whole.choices[0].text


def test_curl_gets_an_answer_from_chat(url: str) -> None:
    body = {
        "prompt": "What is Kubernetes?",
        "return_full_text": False,
        "generate_kwargs": {"max_length": 20, "do_sample": False},
    }
    command = ["curl", "-sS", "--fail-with-body", "--max-time", "120"]
    command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    answer = subprocess.run(
        [*command, f"{url}/chat"], capture_output=True, text=True, check=True
    )
    assert "Result" in json.loads(answer.stdout)


def test_the_pod_is_confined(serving: Applied) -> None:
    (pod,) = serving.get("pods")
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    for container in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]:
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]


def test_a_deleted_workspace_is_gone_and_its_pods_told_to_end_in_half_a_minute(
    serving: Applied,
) -> None:
    """The last of this file: the others need the Workspace."""
    pods = serving.get("pods")
    serving.kubectl("delete", "workspace", serving.name, "--timeout=30s")
    for kind in ("machines", "deployments", "services"):
        serving.kubectl(
            *("wait", kind, "-l", f"kaito.sh/workspace={serving.name}"),
            *("--for=delete", "--timeout=30s"),
        )
    assert all_told_to_end(serving)
    # They have that long to end, and on busy cores may need it.
    (grace,) = {p["spec"]["terminationGracePeriodSeconds"] for p in pods}
    serving.kubectl(
        *("wait", "pods", "-l", f"kaito.sh/workspace={serving.name}"),
        *("--for=delete", f"--timeout={grace + 30}s"),
    )


@retry(
    stop=stop_after_delay(30),
    wait=wait_fixed(0.5),
    retry=retry_if_result(lambda told: not told),
)
def all_told_to_end(serving: Applied) -> bool:
    return all("deletionTimestamp" in p["metadata"] for p in serving.get("pods"))
