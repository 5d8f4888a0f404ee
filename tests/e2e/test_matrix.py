"""Every field that may change, changed on a live Workspace: what follows, once.

Two Workspaces live through a list of changes each. One runs a user's own template,
whose pods are up within a second; the other serves a preset whose weights nobody
can pull, since nothing of it has to start. A third one tunes, and is explained.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from hack import paths
from hack.images.catalogue import CURL
from hack.images.delivery import deliver
from tests.e2e.provisioners.audit import whole_lines
from tests.e2e.workspaces import Applied, Kubectl, own_namespace, settings

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(300)]

#: How long a change may take until it is followed.
SECONDS = 60

Json = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """A change of a Workspace and what is to follow from it.

    Attributes:
        what: The change, in words.
        patch: A merge patch, with $GPU_NODE and $CPU_NODE for the nodes' names.
        seen: Whether a Deployment shows the change.
        writes: How often the Deployment is to be written.
        machines: How many Machines there are to be.
        kept: How many of these are to be those from before.
    """

    what: str
    patch: Json
    seen: Callable[[Json], bool] = lambda _: True
    writes: int = 0
    machines: int = 1
    kept: int = 1

    def __str__(self) -> str:
        return self.what.replace(" ", "-")


def pod_of(deployment: Json) -> Json:
    spec: Json = deployment["spec"]["template"]["spec"]
    return spec


def main_of(deployment: Json) -> Json:
    (container,) = pod_of(deployment)["containers"]
    return dict(container)


def _no(answer: bool) -> bool:
    return not answer


def environment_of(deployment: Json) -> dict[str, str]:
    return {v["name"]: v.get("value", "") for v in main_of(deployment).get("env", ())}


def config_of(deployment: Json) -> str:
    """Return the name of the ConfigMap that a server's settings come from."""
    found = [v["configMap"] for v in pod_of(deployment)["volumes"] if "configMap" in v]
    return found[0]["name"] if found else ""


def strengths_of(deployment: Json) -> list[str]:
    adapters = json.loads(environment_of(deployment).get("KAITO_ADAPTERS", "[]"))
    return [adapter["strength"] for adapter in adapters]


def annotate(name: str, value: str | None) -> Json:
    return {"metadata": {"annotations": {f"kaito.sh/{name}": value}}}


def template(
    *, labels: Json | None = None, pod: Json | None = None, **container: Any
) -> Json:
    """Return a patch with a template whose only container does nothing."""
    sleeper = {
        "name": "sleeper",
        "image": CURL.stands_for,
        "imagePullPolicy": "Always",
        "command": ["sleep", "1000000"],
        **container,
    }
    spec = {"terminationGracePeriodSeconds": 0, "containers": [sleeper], **(pod or {})}
    return {"inference": {"template": {"metadata": {"labels": labels}, "spec": spec}}}


LABELLED = {"team": "search"}
VARIABLE = [{"name": "LEVEL", "value": "debug"}]
APART = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 1,
                "podAffinityTerm": {
                    "labelSelector": {"matchLabels": LABELLED},
                    "topologyKey": "kubernetes.io/hostname",
                },
            }
        ]
    }
}

#: Each begins where the one before ended.
TEMPLATE_CHANGES = (
    Change("a label of the Workspace", {"metadata": {"labels": {"team": "search"}}}),
    Change("the runtime of a template", annotate("runtime", "transformers")),
    Change(
        "a label of the template",
        template(labels=LABELLED),
        seen=lambda d: (
            d["spec"]["template"]["metadata"]["labels"].get("team") == "search"
        ),
        writes=1,
    ),
    Change(
        "a variable of the template",
        template(labels=LABELLED, env=VARIABLE),
        seen=lambda d: environment_of(d) == {"LEVEL": "debug"},
        writes=1,
    ),
    Change("the same template again", template(labels=LABELLED, env=VARIABLE)),
    Change(
        "the image of the template",
        template(labels=LABELLED, env=VARIABLE, image="$OTHER_IMAGE"),
        seen=lambda d: main_of(d)["image"] == "$OTHER_IMAGE",
        writes=1,
    ),
    Change(
        "the affinity of the template",
        template(
            labels=LABELLED, env=VARIABLE, image="$OTHER_IMAGE", pod={"affinity": APART}
        ),
        seen=lambda d: "podAntiAffinity" in pod_of(d)["affinity"],
        writes=1,
    ),
    Change("the instance type removed", {"resource": {"instanceType": None}}),
    Change(
        "another preferred node",
        {"resource": {"preferredNodes": ["$CPU_NODE"]}},
        seen=lambda d: "$CPU_NODE" in json.dumps(pod_of(d)["affinity"]),
        writes=1,
        kept=0,
    ),
    Change(
        "a second node",
        {"resource": {"count": 2, "preferredNodes": ["$CPU_NODE", "$GPU_NODE"]}},
        seen=lambda d: d["spec"]["replicas"] == 2,
        writes=1,
        machines=2,
    ),
    Change(
        "one node again",
        {"resource": {"count": 1}},
        seen=lambda d: d["spec"]["replicas"] == 1,
        writes=1,
    ),
)


def adapter(strength: str) -> Json:
    source = {"name": "tone", "image": "registry.invalid/tone:1"}
    return {"inference": {"adapters": [{"source": source, "strength": strength}]}}


def length(max_model_len: int, comment: str = "") -> Json:
    """Return the ConfigMap that the preset's Workspace may name."""
    return settings(f"{comment}\nvllm:\n  max-model-len: {max_model_len}\n")


CONFIG = Change(
    "a config",
    {"inference": {"config": "settings"}},
    seen=lambda d: config_of(d) == "settings",
    writes=1,
)
NO_CONFIG = Change(
    "no config",
    {"inference": {"config": None}},
    seen=lambda d: not config_of(d),
    writes=1,
)

PRESET_CHANGES = (
    Change("a label of the Workspace", {"metadata": {"labels": {"team": "search"}}}),
    Change("the runtime in use, by name", annotate("runtime", "transformers")),
    Change("resource checks bypassed", annotate("bypass-resource-checks", "")),
    CONFIG,
    NO_CONFIG,
    Change(
        "an adapter",
        adapter("0.2"),
        seen=lambda d: strengths_of(d) == ["0.2"],
        writes=1,
    ),
    Change(
        "the strength of an adapter",
        adapter("0.8"),
        seen=lambda d: strengths_of(d) == ["0.8"],
        writes=1,
    ),
    Change(
        "no adapter",
        {"inference": {"adapters": None}},
        seen=lambda d: strengths_of(d) == [],
        writes=1,
    ),
    Change(
        "no GPU",
        annotate("accelerator", "cpu"),
        seen=lambda d: "memory" in main_of(d)["resources"]["requests"],
        writes=1,
    ),
    Change(
        "GPUs again",
        annotate("accelerator", None),
        seen=lambda d: "nvidia.com/gpu" in main_of(d)["resources"]["requests"],
        writes=1,
    ),
)


class Watched:
    """A Workspace whose children are looked at.

    Where its pods serve, new ones have to take the place of the old; Kubernetes
    leaves those that never served where nothing better comes.
    """

    def __init__(
        self, applied: Applied, *, account: str, words: dict[str, str], serves: bool
    ) -> None:
        self.applied = applied
        self._account = account
        self._words = words
        self._serves = serves
        self._log = audit_log()

    def make(self, change: Change) -> None:
        """Make a change and check that what is to follow follows, and no more."""
        machines = self.uids("machines")
        with self.followed(writes=change.writes):
            self.patch("workspace", change.patch)
        assert change.seen(self.deployment())
        now = self.uids("machines")
        assert (len(now), len(now & machines)) == (change.machines, change.kept)

    @contextlib.contextmanager
    def followed(self, *, writes: int) -> Iterator[None]:
        """Check that the Deployment is written so often, and new pods with it."""
        assert self.wait_made(), "the Deployment's controller makes no pods"
        before, pods = self.deployment(), self.uids("pods")
        position = self._log.stat().st_size if self._log else 0
        yield
        generation = before["metadata"]["generation"] + writes
        assert self.wait_generation(generation), "the change is not followed"
        self.settle()
        after = self.deployment()
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["metadata"]["generation"] == generation
        if self._log:
            assert self.writes_since(position) == writes
        if not writes:
            assert self.uids("pods") == pods
        elif self._serves:
            assert self.wait_replaced(pods, after["spec"]["replicas"])
            self.applied.wait("condition=Ready=True")

    def patch(self, kind: str, patch: Json, name: str = "") -> None:
        """Patch the Workspace, or another object of its namespace."""
        text = json.dumps(patch)
        for word, meaning in self._words.items():
            text = text.replace(word, meaning)
        target = name or self.applied.name
        self.applied.kubectl("patch", kind, target, "--type=merge", f"--patch={text}")

    def settle(self) -> None:
        """Return when the operator has done all that is to be done.

        It handles one change of a Workspace after the other, so when two later ones
        are seen, to and fro, it is done with what was before.
        """
        for value, kind in (("True", "LoadBalancer"), (None, "ClusterIP")):
            self.patch("workspace", annotate("enablelb", value))
            self.applied.kubectl(
                *("wait", "service", self.applied.name),
                *(f"--for=jsonpath={{.spec.type}}={kind}", f"--timeout={SECONDS}s"),
            )

    def deployment(self) -> Json:
        """Return the Workspace's Deployment, with words for names of this cluster."""
        (found,) = self.applied.get("deployments")
        text = json.dumps(found)
        for word, meaning in self._words.items():
            text = text.replace(meaning, word)
        shown: Json = json.loads(text)
        return shown

    def uids(self, kind: str) -> set[str]:
        """Return the uids of the Workspace's objects that are not about to go."""
        return {
            found["metadata"]["uid"]
            for found in self.applied.get(kind)
            if "deletionTimestamp" not in found["metadata"]
        }

    @retry(
        stop=stop_after_delay(SECONDS),
        wait=wait_fixed(0.2),
        retry=retry_if_result(_no),
    )
    def wait_generation(self, generation: int) -> bool:
        """Wait until the Deployment was changed so often."""
        return bool(self.deployment()["metadata"]["generation"] >= generation)

    @retry(
        stop=stop_after_delay(SECONDS),
        wait=wait_fixed(0.5),
        retry=retry_if_result(_no),
    )
    def wait_replaced(self, before: set[str], replicas: int) -> bool:
        """Wait until there are so many pods, and none of those from before."""
        now = self.uids("pods")
        return len(now) == replicas and not now & before

    @retry(
        stop=stop_after_delay(SECONDS),
        wait=wait_fixed(0.2),
        retry=retry_if_result(_no),
    )
    def wait_made(self) -> bool:
        """Wait until there are pods of the Deployment as it is, which may not serve."""
        found = self.deployment()
        status = found.get("status") or {}
        return bool(
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedReplicas", 0) >= found["spec"]["replicas"]
        )

    def writes_since(self, position: int) -> int:
        """Count the operator's writes of Deployments, from a place in the audit log."""
        assert self._log is not None
        logs = [(self._log, position)]
        if self._log.stat().st_size < position:
            # It was full, has been put away, and begun anew.
            full = max(self._log.parent.glob(f"{self._log.stem}-*{self._log.suffix}"))
            logs = [(full, position), (self._log, 0)]
        mark = self.applied.namespace.encode()
        lines: list[bytes] = []
        for path, begin in logs:
            lines += [line for line in whole_lines(path, begin) if mark in line]
        return sum(self._is_write(json.loads(line)) for line in lines)

    def _is_write(self, entry: Json) -> bool:
        target = entry.get("objectRef", {})
        return (
            entry["user"]["username"] == self._account
            and target.get("resource") == "deployments"
            and target.get("namespace") == self.applied.namespace
            and entry["verb"] in {"create", "update", "patch", "delete"}
            and entry["responseStatus"]["code"] < 300
        )


def audit_log() -> Path | None:
    """Return where the API server tells of each request, if it does."""
    environment = json.loads((paths.CLUSTER / "env.json").read_text())
    found = environment.get("auditLog")
    return Path(found) if found else None


@pytest.fixture(scope="module")
def watch(
    kubectl: Kubectl,
    operator: str,
    images: dict[str, str],
    gpu_node: str,
    cpu_node: str,
) -> Iterator[Callable[..., Watched]]:
    """Apply a Workspace in a namespace of its own, to be watched."""
    words = {
        "$GPU_NODE": gpu_node,
        "$CPU_NODE": cpu_node,
        "$OTHER_IMAGE": images["operator"],
    }

    def apply(
        name: str, obj: Json, *, serves: bool, beside: Sequence[Json] = ()
    ) -> Watched:
        namespace = made.enter_context(own_namespace(kubectl, f"matrix-{name}"))
        for other in beside:
            kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(other))
        metadata = {"name": name}
        resource = {
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {}},
            "preferredNodes": [gpu_node],
        }
        whole = {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": metadata,
            "resource": resource,
            **obj,
        }
        account = f"system:serviceaccount:{operator}:pykaito"
        applied = Applied(kubectl, namespace, whole)
        return Watched(applied, account=account, words=words, serves=serves)

    with contextlib.ExitStack() as made:
        yield apply


@pytest.fixture(scope="module")
def own_server(watch: Callable[..., Watched]) -> Watched:
    """A Workspace that runs a template of its user's, once it does."""
    deliver(CURL)
    watched = watch("template", template(), serves=True)
    watched.applied.wait("condition=Ready=True")
    return watched


@pytest.fixture(scope="module")
def preset(watch: Callable[..., Watched], missing_image: str) -> Watched:
    """A Workspace that serves a preset, once its pods wait for their images."""
    image = {"accessMode": "private", "presetOptions": {"image": missing_image}}
    inference = {"inference": {"preset": {"name": "phi-2", **image}}}
    watched = watch("preset", inference, serves=False, beside=[length(1024)])
    watched.applied.wait_reason("InferenceReady", "ImagePullError", 120)
    return watched


@pytest.mark.parametrize("change", TEMPLATE_CHANGES, ids=str)
def test_a_change_of_a_template_workspace_is_followed_once(
    own_server: Watched, change: Change
) -> None:
    own_server.make(change)


@pytest.mark.parametrize("change", PRESET_CHANGES, ids=str)
def test_a_change_of_a_preset_workspace_is_followed_once(
    preset: Watched, change: Change
) -> None:
    preset.make(change)


def test_new_content_of_a_config_makes_new_pods_and_a_new_comment_does_not(
    preset: Watched,
) -> None:
    preset.make(CONFIG)
    with preset.followed(writes=0):
        preset.patch("configmap", length(1024, "# short"), name="settings")
    with preset.followed(writes=1):
        preset.patch("configmap", length(512), name="settings")
    preset.make(NO_CONFIG)


def test_a_load_balancer_is_had_and_given_back_without_a_restart(
    preset: Watched,
) -> None:
    with preset.followed(writes=0):
        preset.settle()


def test_a_tuning_workspace_is_explained_whatever_changes(
    kubectl: Kubectl, namespace: str
) -> None:
    tuning = {
        "preset": {"name": "phi-3-mini-128k-instruct"},
        "method": "qlora",
        "input": {"urls": ["https://example.com/data.parquet"]},
        "output": {"image": "r.example.com/out:1", "imagePushSecret": "push"},
    }
    obj = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "tuned"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "tuned"}}},
        "tuning": tuning,
    }
    text = "training_config: {QuantizationConfig: {load_in_4bit: true}}"
    config = f"--from-literal=training_config.yaml={text}"
    kubectl("create", "configmap", "settings", "-n", namespace, config)
    applied = Applied(kubectl, namespace, obj)
    applied.wait_reason("Ready", "TuningNotSupported")
    for changed in (
        {"input": {"urls": ["https://example.com/more.parquet"]}},
        {"output": {"image": "r.example.com/out:2", "imagePushSecret": "push"}},
        {"config": "settings"},
    ):
        Applied(kubectl, namespace, {**obj, "tuning": {**tuning, **changed}})
        path = "jsonpath={.metadata.generation}"
        generation = applied.kubectl("get", "workspace", "tuned", "-o", path)
        applied.wait(f"jsonpath={{.status.observedGeneration}}={generation}")
        applied.wait_reason("Ready", "TuningNotSupported")
    for kind in ("machines", "deployments", "jobs", "pods", "services"):
        assert applied.get(kind) == []
