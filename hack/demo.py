"""`make demo`: from nothing to a model that answers, with what happens shown."""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import yaml

from hack import paths
from hack.cluster import cluster
from hack.cluster.commands import ClusterError
from hack.cluster.state import LOCAL
from hack.images.catalogue import CURL
from hack.images.delivery import deliver
from hack.install import NAMESPACE, deliver_images, install
from hack.kubectl import kubectl
from hack.weights import deliver_adapter

NAME = "workspace-phi-3-5-mini"
MODEL = "phi-3.5-mini-instruct"
READY_SECONDS = 300
QUESTION = "What is Kubernetes?"


def main() -> int:
    """Run the demo; return the exit status."""
    started = time.monotonic()
    try:
        run()
    except (ClusterError, FileNotFoundError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    print(f"\nThe demo took {time.monotonic() - started:.0f} s. What to try next:\n")
    print(next_steps())
    return 0


def run() -> None:
    """Bring everything up and talk to the model."""
    headline("A cluster")
    cluster.up(LOCAL)
    kubeconfig = LOCAL.kubeconfig
    headline("Images")
    images = deliver_images()
    deliver(CURL)
    adapter = deliver_adapter("phi3")
    headline("The operator")
    install(kubeconfig, images)
    headline("A Workspace")
    node = gpu_node(kubeconfig)
    manifest = paths.CLUSTER / "demo.yaml"
    manifest.write_text(workspace(node))
    show(f"kubectl label node {node} apps=phi-3-5 --overwrite")
    kubectl(kubeconfig, "label", "node", node, "apps=phi-3-5", "--overwrite")
    show(f"kubectl apply -f {manifest.relative_to(paths.ROOT)}")
    print(indent(manifest.read_text()))
    kubectl(kubeconfig, "apply", "-f", str(manifest))
    watch_table(kubeconfig)
    headline("The model answers")
    with port_forward(kubeconfig) as url:
        talk(url)
    headline("An adapter for it")
    adapt(kubeconfig, adapter)


def workspace(node: str) -> str:
    """Return the quick start's Workspace on a prepared node."""
    return yaml.safe_dump(
        {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": NAME},
            "resource": {
                "instanceType": "Standard_NC24ads_A100_v4",
                "labelSelector": {"matchLabels": {"apps": "phi-3-5"}},
                "preferredNodes": [node],
            },
            "inference": {"preset": {"name": MODEL}},
        },
        sort_keys=False,
    )


def gpu_node(kubeconfig: Path) -> str:
    """Return the first node that offers GPUs.

    Raises:
        ClusterError: none does.
    """
    nodes = json.loads(kubectl(kubeconfig, "get", "nodes", "-o", "json"))["items"]
    for node in nodes:
        if int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)):
            return str(node["metadata"]["name"])
    raise ClusterError(
        "no node has nvidia.com/gpu allocatable; `kubectl describe nodes` shows what "
        "they have"
    )


def watch_table(kubeconfig: Path) -> None:
    """Print the Workspace's row whenever it changes, until it serves.

    Raises:
        ClusterError: it does not serve in time; says why, in its own words.
    """
    show(f"kubectl get workspace {NAME} --watch")
    command = [paths.kubectl(), "--kubeconfig", str(kubeconfig), "get", "workspace"]
    command += [NAME, "--watch", f"--request-timeout={READY_SECONDS}s"]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            row = line.rsplit(maxsplit=1)[0]
            if row != last:
                print(indent(line.rstrip()), flush=True)
            last = row
            # INSTANCE, then RESOURCEREADY, INFERENCEREADY, WORKSPACESUCCEEDED.
            if line.split()[2:5] == ["True", "True", "True"]:
                process.terminate()
                return
    conditions = kubectl(
        kubeconfig,
        *("get", "workspace", NAME, "-o"),
        'jsonpath={range .status.conditions[?(@.status=="False")]}{.type}: '
        "{.reason}: {.message}{'\\n'}{end}",
    )
    raise ClusterError(
        f"the Workspace does not serve after {READY_SECONDS} s:\n{indent(conditions)}\n"
        f"see: kubectl describe workspace {NAME}"
    )


@contextlib.contextmanager
def port_forward(kubeconfig: Path) -> Iterator[str]:
    """Make the model's Service reachable from here; yield its address."""
    command = [paths.kubectl(), "--kubeconfig", str(kubeconfig), "port-forward"]
    command += [f"service/{NAME}", ":80"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            if found is None:
                raise ClusterError(f"kubectl port-forward: {line or 'no answer'}")
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()


def talk(url: str) -> None:
    """Ask the model through each of its interfaces and print the answers."""
    show("curl http://$SERVICE/v1/models")
    models = httpx.get(f"{url}/v1/models", timeout=30).raise_for_status()
    print(indent(json.dumps(models.json(), indent=2)))
    show(f"client.chat.completions.create(model={MODEL!r}, …)   # openai, Python")
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120)
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=16,
        temperature=0,
    )
    print(indent(repr(answer.choices[0].message.content)))
    command = ["curl", "-sS", "--fail-with-body", "--max-time", "120", "-X", "POST"]
    command += ["-H", "Content-Type: application/json", "-d"]
    body = json.dumps({"prompt": QUESTION, "generate_kwargs": {"max_length": 32}})
    command += [body, f"{url}/chat"]
    show(f"curl -X POST -d '{body}' http://$SERVICE/chat")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"curl /chat: {done.stdout}{done.stderr}")
    print(indent(done.stdout))
    print("  (The weights are random: what matters is that it answers.)")


def adapt(kubeconfig: Path, image: str) -> None:
    """Change the Workspace while it serves, and show what becomes of it."""
    adapter = {"source": {"name": "support", "image": image}, "strength": "0.5"}
    patch = json.dumps({"inference": {"adapters": [adapter]}})
    show(f"kubectl patch workspace {NAME} --type merge --patch '{patch}'")
    kubectl(kubeconfig, "patch", "workspace", NAME, "--type=merge", f"--patch={patch}")
    kubectl(
        kubeconfig,
        *("wait", "deployment", NAME, f"--timeout={READY_SECONDS}s"),
        f"--for=jsonpath={{.spec.template.spec.initContainers[1].image}}={image}",
        timeout=READY_SECONDS + 30,
    )
    show(f"kubectl rollout status deployment {NAME}")
    rollout = ("rollout", "status", "deployment", NAME, f"--timeout={READY_SECONDS}s")
    told = kubectl(kubeconfig, *rollout, timeout=READY_SECONDS + 30)
    print(indent("\n".join(dict.fromkeys(told.splitlines()))))
    show(f"kubectl kaito status {NAME}")
    status = [sys.executable, "-m", "pykaito.cli", "status", NAME, "--watch"]
    status += [f"--kubeconfig={kubeconfig}", "--timeout=60"]
    done = subprocess.run(status, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"kubectl kaito status: {done.stdout}{done.stderr}")
    print(indent(done.stdout))


def next_steps() -> str:
    """Say what a newcomer may do with the cluster that is up now."""
    return f"""  export KUBECONFIG={paths.KUBECONFIG.relative_to(paths.ROOT)}
  export PATH={paths.CLUSTER.relative_to(paths.ROOT)}/bin:$PATH
  kubectl describe workspace {NAME}
  kubectl get machines,deployments,pods,services
  kubectl logs -n {NAMESPACE} deployment/pykaito
  kubectl run -it --rm --restart=Never curl --image=curlimages/curl -- \\
      curl -s http://{NAME}/v1/models
  kubectl label node {gpu_label()}    # then describe again: it says what is missing
  make test          # every check
  make cluster-down  # remove every trace"""


def gpu_label() -> str:
    """Return the arguments that take the demo's label off its node."""
    return f"{gpu_node(LOCAL.kubeconfig)} apps-"


def headline(text: str) -> None:
    """Print the title of what comes next."""
    print(f"\n{text}", flush=True)


def show(command: str) -> None:
    """Print a command as a person would type it."""
    print(f"  $ {command}", flush=True)


def indent(text: str) -> str:
    """Indent each line by two."""
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines())


if __name__ == "__main__":
    sys.exit(main())
