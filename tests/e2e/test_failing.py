"""Ten ways to fail, each told with cause and remedy within fifteen seconds.

The time counts from when Kubernetes reports the cause: how long a kubelet takes to
find out is its own affair.
"""

import contextlib
import json
import logging
import shlex
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hack.cluster.commands import ClusterError
from hack.images.registry import protected
from tests.e2e.recording import Object, Recording
from tests.e2e.workspaces import Kubectl

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(600)]

log = logging.getLogger(__name__)

#: From the cause to condition and Event, in seconds.
IN_TIME = 15
#: Until Kubernetes reports the cause: images are pulled before.
CAUSE_SECONDS = 240

KINDS = ("workspaces", "events", "deployments", "pods", "configmaps")


@dataclass(frozen=True)
class Surroundings:
    """What the ways to fail need of the cluster."""

    node: str
    #: An image with a shell, which nodes can pull.
    image: str
    #: A registry that asks for a login; empty where there is none.
    login_registry: str


@dataclass(frozen=True)
class Failure:
    """A Workspace that fails, and how.

    Attributes:
        inference: of its spec.
        kind: of the objects that show the cause.
        shows: whether an object does.
        reason: how conditions and Event name it.
        says: what all messages hold.
    """

    inference: dict[str, Any]
    kind: str
    shows: Callable[[Object], bool]
    reason: str
    says: Sequence[str]


def template(
    around: Surroundings, *command: str, pod: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    container = {"name": "main", "image": around.image, "command": list(command)}
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    spec = {"containers": [container | more], "terminationGracePeriodSeconds": 0}
    return {"template": {"spec": spec | (pod or {})}}


def preset(*adapters: tuple[str, str], **options: Any) -> dict[str, Any]:
    sources = [{"source": {"name": name, "image": image}} for name, image in adapters]
    named: dict[str, Any] = {"name": "falcon-7b"}
    return {
        "preset": named | ({"presetOptions": options} if options else {}),
        "adapters": sources,
    }


def states(pod: Object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what each container of a pod is and was at."""
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            for state in ("state", "lastState"):
                yield from (container.get(state) or {}).items()


def waits_for(*reasons: str, words: str = "") -> Callable[[Object], bool]:
    return lambda pod: any(
        kind == "waiting"
        and state.get("reason") in reasons
        and words in state.get("message", "")
        for kind, state in states(pod)
    )


def ended(**how: Any) -> Callable[[Object], bool]:
    return lambda pod: any(
        kind == "terminated" and how.items() <= state.items()
        for kind, state in states(pod)
    )


def has(kind: str, status: str) -> Callable[[Object], bool]:
    return lambda obj: any(
        (c["type"], c["status"]) == (kind, status)
        for c in (obj.get("status") or {}).get("conditions") or ()
    )


def _wrong_image(around: Surroundings) -> Failure:
    image = f"{around.image.rpartition(':')[0]}:no-such-tag"
    return Failure(
        template(around, "true", image=image),
        "pods",
        waits_for("ErrImagePull", "ImagePullBackOff"),
        "ImagePullError",
        (f"cannot pull {image} (inference.template.spec.containers[0].image)",),
    )


def _pull_denied(around: Surroundings) -> Failure:
    if not around.login_registry:
        pytest.skip(
            "waits for a registry that asks for a login, as `make cluster` brings up"
        )
    return Failure(
        preset(("secret", f"{around.login_registry}/pykaito/adapter:1")),
        "pods",
        waits_for("ErrImagePull", "ImagePullBackOff"),
        "ImagePullError",
        (
            "inference.adapters[0].source.imagePullSecrets",
            f"--docker-server={around.login_registry}",
        ),
    )


WAYS: dict[str, Callable[[Surroundings], Failure]] = {
    "secret": lambda _: Failure(
        preset(modelAccessSecret="hf"),
        "pods",
        waits_for("CreateContainerConfigError", words="not found"),
        "ContainerStartError",
        (
            "Secret hf (inference.preset.presetOptions.modelAccessSecret)",
            "create secret generic hf --from-literal=HF_TOKEN=VALUE",
        ),
    ),
    "image": _wrong_image,
    "denied": _pull_denied,
    "memory": lambda around: Failure(
        template(around, "tail", "/dev/zero", resources={"limits": {"memory": "64Mi"}}),
        "pods",
        ended(reason="OOMKilled"),
        "ContainerOOMKilled",
        (
            "than its limit of 64Mi",
            "Raise inference.template.spec.containers[0].resources.limits.memory",
        ),
    ),
    "crash": lambda around: Failure(
        template(around, "sh", "-c", "echo 'ValueError: no weights' >&2; exit 3"),
        "pods",
        ended(exitCode=3),
        "ContainerCrashLoopBackOff",
        ("ended with exit code 3", "ValueError: no weights", "kubectl -n"),
    ),
    "unschedulable": lambda around: Failure(
        template(around, "true", resources={"requests": {"cpu": "1000"}}),
        "pods",
        has("PodScheduled", "False"),
        "Unschedulable",
        (
            "Insufficient cpu",
            "the pod asks for",
            f"--field-selector spec.nodeName={around.node}",
        ),
    ),
    "disk": lambda around: Failure(
        template(
            around,
            *("sh", "-c", "head -c 20000000 /dev/zero > /scratch/x; sleep 3600"),
            pod={
                "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}],
                # Once the next one runs, that this one was evicted is history.
                "initContainers": [
                    {"name": "wait", "image": around.image, "command": ["sleep", "10"]}
                ],
            },
            volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}],
        ),
        "pods",
        lambda pod: (pod.get("status") or {}).get("reason") == "Evicted",
        "PodEvicted",
        ("sizeLimit of volume scratch in inference.template.spec",),
    ),
    "key": lambda _: Failure(
        preset() | {"config": "key"},
        "configmaps",
        lambda _: True,
        "ConfigKeyMissing",
        ("inference_config.yaml",),
    ),
    "environment": lambda around: Failure(
        template(
            around,
            "true",
            env=[
                {
                    "name": "A",
                    "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}},
                }
            ],
        ),
        "pods",
        waits_for("CreateContainerConfigError", words="couldn't find key"),
        "ContainerStartError",
        ("ConfigMap settings has no key a", "patch configmap settings"),
    ),
    "volume": lambda around: Failure(
        template(
            around,
            "true",
            pod={"volumes": [{"name": "v", "configMap": {"name": "no-such"}}]},
            volumeMounts=[{"name": "v", "mountPath": "/v"}],
        ),
        "events",
        lambda event: event["reason"] == "FailedMount",
        "ContainerStartError",
        ("ConfigMap no-such", "get configmap/no-such"),
    ),
    "adapter": lambda around: Failure(
        preset(("empty", around.image)),
        "pods",
        ended(exitCode=1),
        "ContainerCrashLoopBackOff",
        ("inference.adapters[0].source.image", "no adapter_config.json in /data"),
    ),
    "quota": lambda around: Failure(
        template(around, "true"),
        "deployments",
        has("ReplicaFailure", "True"),
        "QuotaExceeded",
        ("ResourceQuota none of namespace", "pods: 1 more wanted, 0 of 0 used"),
    ),
}


class Failing:
    """The Workspaces that fail, all at once."""

    def __init__(
        self, kubectl: Kubectl, kubeconfig: Path, around: Surroundings
    ) -> None:
        self._kubectl = kubectl
        self._kubeconfig = kubeconfig
        self._around = around
        self._recordings: dict[str, Recording] = {}

    @contextlib.contextmanager
    def begun(self) -> Iterator["Failing"]:
        """Apply all of them; those of the quota, where nothing else is refused."""
        run = uuid.uuid4().hex[:6]
        with contextlib.ExitStack() as stack:
            for part in ("ways", "quota"):
                namespace = f"failing-{part}-{run}"
                self._kubectl("create", "namespace", namespace)
                stack.callback(
                    self._kubectl, "delete", "namespace", namespace, "--wait=false"
                )
                recording = Recording(self._kubeconfig, namespace, KINDS)
                stack.enter_context(recording)
                self._recordings[part] = recording
                self._prepare(part, namespace)
                self._apply(part, namespace)
            yield self

    def __getitem__(self, name: str) -> tuple[Failure, Recording]:
        """Return a failure, and what is seen of where it happens."""
        part = "quota" if name == "quota" else "ways"
        return WAYS[name](self._around), self._recordings[part]

    def _prepare(self, part: str, namespace: str) -> None:
        if part == "quota":
            made = ("quota", "none", "--hard=pods=0")
        else:
            made = ("configmap", "settings", "--from-literal=other=key")
        self._kubectl("create", *made, "--namespace", namespace)

    def _apply(self, part: str, namespace: str) -> None:
        for name, way in WAYS.items():
            if (name == "quota") != (part == "quota"):
                continue
            # What this cluster lacks for a way, the way's own test says, and skips.
            with contextlib.suppress(pytest.skip.Exception):
                spec = {
                    "apiVersion": "kaito.sh/v1beta1",
                    "kind": "Workspace",
                    "metadata": {"name": name, "namespace": namespace},
                    "resource": {
                        "preferredNodes": [self._around.node],
                        "labelSelector": {"matchLabels": {}},
                    },
                    "inference": way(self._around).inference,
                }
                self._kubectl("apply", "-f", "-", stdin=json.dumps(spec))
        if part == "ways":
            # The webhook refuses a ConfigMap that is wrong, not one that is to come.
            keyless = ("configmap", "key", "--from-literal=other=key")
            self._kubectl("create", *keyless, "--namespace", namespace)


@pytest.fixture(scope="module")
def failing(
    kubectl: Kubectl,
    kubeconfig: Path,
    gpu_node: str,
    operator: str,
    images: dict[str, str],
) -> Iterator[Failing]:
    assert operator
    try:
        login = protected().address
    except (ClusterError, KeyError):
        login = ""
    around = Surroundings(gpu_node, images["transformers"], login)
    with Failing(kubectl, kubeconfig, around).begun() as begun:
        yield begun


def tells(name: str, reason: str) -> Callable[[Object], bool]:
    """Say whether a version of the Workspace tells of the reason in all it has to."""

    def matches(workspace: Object) -> bool:
        if workspace["metadata"]["name"] != name:
            return False
        found = conditions(workspace)
        return all(
            found.get(kind, {}).get("reason") == reason
            for kind in ("InferenceReady", "Ready")
        )

    return matches


def conditions(workspace: Object) -> dict[str, dict[str, str]]:
    listed = (workspace.get("status") or {}).get("conditions") or ()
    return {condition["type"]: condition for condition in listed}


def belongs(name: str, shows: Callable[[Object], bool]) -> Callable[[Object], bool]:
    def matches(obj: Object) -> bool:
        labels = obj["metadata"].get("labels") or {}
        mine = name in {labels.get("kaito.sh/workspace"), obj["metadata"]["name"]}
        of_pod = obj.get("regarding", {}).get("name", "").startswith(f"{name}-")
        return (mine or of_pod) and shows(obj)

    return matches


@pytest.mark.parametrize("name", WAYS)
def test_a_failure_is_told_in_time_with_cause_and_remedy(
    failing: Failing, name: str
) -> None:
    failure, seen = failing[name]
    caused, _ = seen.first(
        failure.kind, belongs(name, failure.shows), within=CAUSE_SECONDS
    )
    told, workspace = seen.first("workspaces", tells(name, failure.reason), within=60)
    recorded, event = seen.first(
        "events",
        lambda event: (
            event["regarding"]["name"] == name and event["reason"] == failure.reason
        ),
        within=60,
    )
    log.info("%s: told after %.1f s", name, max(told, recorded) - caused)
    found = conditions(workspace)
    for message in (
        found["InferenceReady"]["message"],
        found["Ready"]["message"],
        event["note"],
    ):
        for text in failure.says:
            assert text in message
        assert message.endswith(f"/docs/troubleshooting/{failure.reason}.md)")
    assert event["type"] == "Warning"
    assert told - caused < IN_TIME
    assert recorded - caused < IN_TIME


def test_the_command_in_the_message_mends_it(
    failing: Failing, kubectl: Kubectl
) -> None:
    failure, seen = failing["secret"]
    _, workspace = seen.first(
        "workspaces", tells("secret", failure.reason), within=CAUSE_SECONDS
    )
    message = conditions(workspace)["Ready"]["message"]
    command = message.partition("Create it: kubectl ")[2].partition(" (")[0]
    kubectl(*shlex.split(command))
    seen.first(
        "workspaces",
        lambda obj: (
            obj["metadata"]["name"] == "secret"
            and conditions(obj).get("InferenceReady", {}).get("reason", "")
            not in {"", failure.reason}
            and int(obj["metadata"]["resourceVersion"])
            > int(workspace["metadata"]["resourceVersion"])
        ),
        within=120,
    )


def test_a_crash_loop_is_one_event(failing: Failing) -> None:
    failure, seen = failing["crash"]
    seen.first(
        "pods",
        belongs(
            "crash",
            lambda pod: any(
                c["restartCount"] > 1
                for c in (pod.get("status") or {}).get("containerStatuses") or ()
            ),
        ),
        within=120,
    )
    told = {
        event["metadata"]["name"]: event["note"]
        for event in seen.versions("events")
        if event["regarding"]["name"] == "crash" and event["reason"] == failure.reason
    }
    assert len(told) == 1, told


def test_what_crashes_is_never_told_to_be_served(failing: Failing) -> None:
    failure, seen = failing["crash"]
    seen.first("workspaces", tells("crash", failure.reason), within=CAUSE_SECONDS)
    assert not [
        version
        for version in seen.versions("workspaces")
        if version["metadata"]["name"] == "crash"
        and conditions(version).get("Ready", {}).get("status") == "True"
    ]
