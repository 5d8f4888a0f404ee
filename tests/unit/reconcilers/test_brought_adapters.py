"""Whether what a Deployment's pods have of adapters will do for what is wanted."""

import copy
from typing import Any

import pytest

from pykaito.api.parse import parse
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.reconcilers.inference import manifests
from pykaito.runtime.presets.plan import Known, plan
from tests.unit.reconcilers.workspaces import raw_workspace

IMAGES = {"vllm": "registry/vllm:1", "transformers": "registry/transformers:1"}
RUNNING = {"metadata": {"name": "pod"}, "status": {"phase": "Running"}}
PENDING = {"metadata": {"name": "pod"}, "status": {"phase": "Pending"}}


def adapter(name: str, strength: str | None = None, tag: str = "1") -> dict[str, Any]:
    made: dict[str, Any] = {"source": {"name": name, "image": f"registry/{name}:{tag}"}}
    return made | ({"strength": strength} if strength else {})


LAW, TONE = adapter("law"), adapter("tone")
CLAIM = {"persistentVolumeClaim": {"claimName": "own"}}
ON_VOLUME = {"source": {"name": "own", "volumeSource": CLAIM}}


def workspace(*adapters: dict[str, Any], **annotations: str) -> Workspace:
    inference = {"preset": {"name": "falcon-7b"}, "adapters": list(adapters)}
    metadata = {"annotations": {f"kaito.sh/{k}": v for k, v in annotations.items()}}
    return parse(Workspace, raw_workspace(inference=inference, metadata=metadata))


def deployment(wanted: Workspace, runtime: Any = "vllm", **options: Any) -> Any:
    planned = plan(wanted, known=Known(default_runtime=runtime))
    options = {"nodes": ["gpu-0"], "images": IMAGES} | options
    return manifests.deployment(wanted, raw_workspace(), planned, **options)


def kept(wanted: Workspace, deployed: Any, *pods: Any) -> list[str] | None:
    """Return the adapters that pods go on having; None where it is a rollout."""
    found = manifests.with_brought(wanted, deployed, pods)
    if found is None or not manifests.is_template_of(deployment(found), deployed):
        return None
    assert found.inference is not None
    return [str(one.source.name) for one in found.inference.adapters]


@pytest.mark.parametrize(
    ("had", "wanted", "goes_on"),
    [
        ([LAW, TONE], [LAW], ["law", "tone"]),
        ([LAW, TONE], [], ["law", "tone"]),
        ([LAW, TONE], [TONE, LAW], ["law", "tone"]),
        ([LAW, TONE], [adapter("tone", "0.5")], ["law", "tone"]),
        ([LAW, ON_VOLUME], [ON_VOLUME], ["law", "own"]),
        ([LAW], [LAW, TONE], None),
        ([LAW], [TONE], None),
        ([LAW, TONE], [adapter("law", tag="2")], None),
        ([LAW], [{"source": LAW["source"] | {"imagePullSecrets": ["login"]}}], None),
        ([], [LAW], None),
    ],
)
def test_pods_stay_if_they_have_all_that_is_wanted(
    had: list[Any], wanted: list[Any], goes_on: list[str] | None
) -> None:
    assert kept(workspace(*wanted), deployment(workspace(*had)), RUNNING) == goes_on


def test_a_strength_is_no_part_of_the_pod_template() -> None:
    weak, strong = (deployment(workspace(adapter("law", s))) for s in ("0.1", "1"))
    assert weak == strong


def test_transformers_merges_strengths_as_it_starts() -> None:
    weak, strong = (
        deployment(workspace(adapter("law", s)), "transformers") for s in ("0.1", "1")
    )
    assert weak != strong
    assert not manifests.brings_adapters(weak)


def test_pods_keep_the_memory_that_they_were_given_for_their_adapters() -> None:
    on_cpus = {"accelerator": "cpu", "runtime": "vllm"}
    both, one = (workspace(*these, **on_cpus) for these in ([LAW, TONE], [LAW]))
    deployed = deployment(both)
    assert resources_of(deployed) != resources_of(deployment(one))
    assert kept(one, deployed, RUNNING) == ["law", "tone"]


def resources_of(deployed: Any) -> Any:
    (server,) = deployed["spec"]["template"]["spec"]["containers"]
    return server["resources"], server["command"]


@pytest.mark.parametrize(
    "change", [{"nodes": ["gpu-1"]}, {"images": IMAGES | {"vllm": "registry/vllm:2"}}]
)
def test_another_change_of_the_template_leaves_out_what_is_not_wanted(
    change: dict[str, Any],
) -> None:
    deployed = deployment(workspace(LAW, TONE), **change)
    assert kept(workspace(LAW), deployed, RUNNING) is None


def test_a_pod_that_is_being_made_is_made_of_what_is_wanted() -> None:
    """It may wait for the image of the very adapter that was taken back."""
    deployed = deployment(workspace(LAW, TONE))
    assert kept(workspace(LAW), deployed, RUNNING, PENDING) is None
    leaving = {**PENDING, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert kept(workspace(LAW), deployed, RUNNING, leaving) == ["law", "tone"]


def test_what_others_set_or_the_api_server_adds_makes_no_other_template() -> None:
    deployed = copy.deepcopy(deployment(workspace(LAW, TONE)))
    (server,) = deployed["spec"]["template"]["spec"]["containers"]
    server["command"] = ["mine"]
    deployed["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    assert kept(workspace(LAW), deployed, RUNNING) == ["law", "tone"]


@pytest.mark.parametrize("text", [None, "", "{", "{}", "[1]", '[{"name": []}]'])
def test_a_deployment_that_does_not_say_what_it_brings_brings_nothing(
    text: str | None,
) -> None:
    """As those of an earlier release, and those that somebody has edited."""
    deployed = deployment(workspace(LAW))
    annotations = deployed["spec"]["template"]["metadata"]["annotations"]
    if text is None:
        annotations.clear()
    else:
        annotations["kaito.sh/adapters"] = text
    assert kept(workspace(LAW), deployed, RUNNING) is None


def test_a_workspace_without_adapters_is_as_it_always_was() -> None:
    made = deployment(workspace())
    assert "annotations" not in made["spec"]["template"]["metadata"]
    assert "adapters-list" not in str(made)


def test_a_change_of_the_list_is_told_in_words() -> None:
    before, after = (
        manifests.adapter_list(workspace(*adapters), raw_workspace())
        for adapters in (
            [LAW, adapter("tone", "0.5"), ON_VOLUME],
            [LAW, adapter("tone", "0.25"), adapter("new")],
        )
    )
    assert manifests.describe_change(before, after) == (
        "'tone' at strength 0.25 instead of 0.5, 'new' at strength 1.0, "
        "no 'own' any more"
    )
    assert manifests.describe_change(after, after) == ""
    assert manifests.describe_change({"data": {"adapters.json": "{"}}, after) != ""
