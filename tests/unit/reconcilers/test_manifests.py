"""The objects that serve a model, held against golden files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pykaito.api.parse import parse
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.reconcilers.inference import manifests
from pykaito.reconcilers.inference.manifests import ConfigFile, probes
from pykaito.runtime.presets.plan import Known, Plan, plan
from pykaito.runtime.presets.runtimes import Runtime
from pykaito.runtime.vllm import download
from tests.unit.reconcilers.workspaces import raw_workspace

GOLDEN = Path(__file__).parent / "golden"

HUB = {"preset": {"name": "falcon-7b"}}
PRIVATE = {
    "preset": {
        "name": "phi-3.5-mini-instruct",
        "accessMode": "private",
        "presetOptions": {
            "image": "registry.example.com/phi-3.5:1",
            "imagePullSecrets": ["registry-login"],
        },
    }
}
TOKEN = {
    "preset": {
        "name": "phi-3.5-mini-instruct",
        "presetOptions": {"modelAccessSecret": "hub-token"},
    },
    "config": "settings",
}
ADAPTERS = {
    **HUB,
    "adapters": [
        {
            "source": {"name": "tone.v2", "image": "registry.example.com/tone:2"},
            "strength": "0.5",
        },
        {
            "source": {
                "name": "law",
                "volumeSource": {"persistentVolumeClaim": {"claimName": "law"}},
            }
        },
    ],
}
TEMPLATE = {
    "template": {
        "metadata": {"labels": {"team": "search"}, "annotations": {"note": "mine"}},
        "spec": {
            "containers": [
                {
                    "name": "server",
                    "image": "registry.example.com/server:1",
                    "ports": [{"containerPort": 5000}],
                    "resources": {"limits": {"nvidia.com/gpu": "1"}},
                }
            ],
            "tolerations": [
                {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
                {"key": "team", "operator": "Exists"},
            ],
            "affinity": {
                "podAffinity": {"note": "kept"},
                "nodeAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": ["kept"],
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "zone", "operator": "In", "values": ["a"]}
                                ]
                            },
                            {
                                "matchFields": [
                                    {
                                        "key": "metadata.name",
                                        "operator": "NotIn",
                                        "values": ["gpu-9"],
                                    }
                                ]
                            },
                        ]
                    },
                },
            },
        },
    }
}
CASES: dict[str, dict[str, Any]] = {
    "hub": HUB,
    "private": PRIVATE,
    "token": TOKEN,
    "adapters": ADAPTERS,
    "template": TEMPLATE,
    "cpu": HUB,
    "vllm": {"preset": {"name": "deepseek-v3.2"}},
    "vllm-adapters": {**PRIVATE, "adapters": ADAPTERS["adapters"]},
    "vllm-cpu": HUB,
    "cache": HUB,
    "weights-claim": HUB,
    "vllm-cache": HUB,
    "vllm-local-weights": {"preset": {"name": "microsoft/Phi-4-mini-instruct"}},
    "vllm-mounted-image": PRIVATE,
}
ANNOTATIONS = {
    "cpu": {"kaito.sh/accelerator": "cpu"},
    "vllm-cpu": {"kaito.sh/accelerator": "cpu", "kaito.sh/runtime": "vllm"},
    "cache": {"kaito.sh/cache-claim": "kept"},
    "weights-claim": {
        "kaito.sh/weights-claim": "models/tii/falcon-7b",
        "kaito.sh/cache-claim": "kept",
    },
    "vllm-cache": {"kaito.sh/cache-claim": "kept"},
    "vllm-local-weights": {"kaito.sh/use-local-weights": "true"},
    "vllm-mounted-image": {"kaito.sh/mount-weights-image": "true"},
}
NAMED = ConfigFile(config_map="settings", content="vllm: {}", checksum="c0ffee")
DEFAULT = ConfigFile(config_map="", content="vllm: {}", checksum="c0ffee")
CONFIGS = {"token": NAMED, "adapters": DEFAULT, "vllm-adapters": NAMED}
IMAGES = {"vllm": "registry/vllm:1", "transformers": "registry/transformers:1"}
ON_CPU = {"cpu": "3500m", "memory": "16Gi"}


def planned(
    workspace: Workspace,
    resources: dict[str, str] | None = None,
    runtime: Runtime = "transformers",
) -> Plan:
    """Return the plan; of a template, what matters of it here."""
    if workspace.inference and workspace.inference.template:
        return Plan(nodes=2, node_resources={}, server=None)
    made = plan(workspace, known=Known(default_runtime=runtime))
    return Plan(
        nodes=made.nodes,
        node_resources=resources or made.node_resources,
        server=made.server,
        image_pull_secrets=made.image_pull_secrets,
        memory=made.memory,
    )


def deployment(
    inference: Any = HUB, metadata: Any = None, **options: Any
) -> dict[str, Any]:
    raw = raw_workspace(inference=inference, metadata=metadata or {})
    workspace = parse(Workspace, raw)
    resources = options.pop("resources", None)
    runtime = options.pop("runtime", "transformers")
    defaults = {"nodes": ["gpu-1", "gpu-0"], "images": IMAGES}
    return manifests.deployment(
        workspace, raw, planned(workspace, resources, runtime), **(defaults | options)
    )


def service(**changes: Any) -> dict[str, Any]:
    raw = raw_workspace(**changes)
    return manifests.service(parse(Workspace, raw), raw)


def pod(*args: Any, **options: Any) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(*args, **options)["spec"]["template"]["spec"]
    return spec


def container(*args: Any, **options: Any) -> dict[str, Any]:
    (found,) = pod(*args, **options)["containers"]
    return dict(found)


def rendered(name: str) -> list[dict[str, Any]]:
    made = deployment(
        CASES[name],
        {"annotations": ANNOTATIONS.get(name, {})},
        config=CONFIGS.get(name),
        runtime="vllm" if name.startswith("vllm") else "transformers",
    )
    # A round trip through JSON, so that no part is written as an alias.
    objects = [service(), made]
    if manifests.brings_adapters(made):
        raw = raw_workspace(inference=CASES[name])
        objects.insert(1, manifests.adapter_list(parse(Workspace, raw), raw))
    plain: list[dict[str, Any]] = json.loads(json.dumps(objects))
    return plain


def test_a_server_downloads_from_the_hub_that_it_is_told() -> None:
    told = container(hub_endpoint="http://hub.example")["env"]
    assert {"name": "HF_ENDPOINT", "value": "http://hub.example"} in told
    for public in ("", "https://huggingface.co"):
        names = {v["name"] for v in container(hub_endpoint=public)["env"]}
        assert "HF_ENDPOINT" not in names


def test_a_server_with_weights_from_an_image_is_told_of_no_hub() -> None:
    env = container(CASES["private"], hub_endpoint="http://hub.example")["env"]
    assert "HF_ENDPOINT" not in {v["name"] for v in env}


@pytest.mark.parametrize(
    ("name", "minutes"), [("hub", 55), ("private", 30), ("weights-claim", 30)]
)
def test_a_start_has_time_for_a_slow_download_where_there_is_one(
    name: str, minutes: int
) -> None:
    startup = container(CASES[name], {"annotations": ANNOTATIONS.get(name, {})})
    probe = startup["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == minutes * 60


def test_a_start_has_time_for_as_long_as_the_runtime_itself_is_patient() -> None:
    assert probes.LONGEST_DOWNLOAD == download.LONGEST


@pytest.mark.parametrize("name", CASES)
def test_the_objects_are_as_in_the_golden_file(name: str) -> None:
    golden = GOLDEN / f"{name}.yaml"
    assert rendered(name) == list(yaml.safe_load_all(golden.read_text())), (
        "if the change is meant, write it: python -m tests.unit.reconcilers."
        "test_manifests"
    )


@pytest.mark.parametrize("name", ["weights", "copy-tool", "adapter-tone-v2"])
def test_the_containers_of_a_workspace_of_any_name_differ(name: str) -> None:
    both = PRIVATE | {"adapters": ADAPTERS["adapters"]}
    spec = pod(both, metadata={"name": name})
    assert spec["containers"][0]["name"] == name
    names = [c["name"] for c in (*spec["initContainers"], *spec["containers"])]
    assert len(set(names)) == len(names) == 4


def test_a_load_balancer_is_made_only_when_asked_for() -> None:
    asked = service(metadata={"annotations": {"kaito.sh/enablelb": "True"}})
    assert asked["spec"]["type"] == "LoadBalancer"
    assert service()["spec"]["type"] == "ClusterIP"


def test_a_rollout_starts_a_pod_more_only_where_told_so() -> None:
    with_room = deployment(surge=True)["spec"]["strategy"]["rollingUpdate"]
    without = deployment(surge=False)["spec"]["strategy"]["rollingUpdate"]
    assert with_room == {"maxSurge": 1, "maxUnavailable": 0}
    assert without == {"maxSurge": 0, "maxUnavailable": 1}


def test_only_the_strategy_differs_by_room() -> None:
    with_room, without = deployment(surge=True), deployment(surge=False)
    assert with_room["spec"]["template"] == without["spec"]["template"]


def test_the_token_of_the_hub_is_a_reference_that_has_to_be_there() -> None:
    (variable,) = (v for v in container(TOKEN)["env"] if v["name"] == "HF_TOKEN")
    reference = {"name": "hub-token", "key": "HF_TOKEN"}
    assert variable == {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}}


def test_the_memory_of_a_cpu_is_limited_and_its_time_is_not() -> None:
    assert container(resources=ON_CPU)["resources"] == {
        "requests": {"cpu": "3500m", "memory": "16Gi"},
        "limits": {"memory": "16Gi"},
    }


def test_a_server_without_gpus_has_a_thread_for_each_core_it_asks_for() -> None:
    variables = {v["name"]: v["value"] for v in container(resources=ON_CPU)["env"]}
    assert variables["OMP_NUM_THREADS"] == "3"
    assert "tolerations" not in pod(resources=ON_CPU)


def test_a_pod_on_a_slice_bears_the_taints_of_slices_and_of_whole_gpus() -> None:
    borne = [
        t["key"] for t in pod(resources={"nvidia.com/mig-1g.10gb": "1"})["tolerations"]
    ]
    assert borne == ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "sku"]


SPOT = {
    "key": "kubernetes.azure.com/scalesetpriority",
    "value": "spot",
    "effect": "NoSchedule",
}


@pytest.mark.parametrize("resources", [ON_CPU, {"nvidia.com/gpu": "1"}])
@pytest.mark.parametrize(("capacity", "borne"), [("spot", 1), ("on-demand", 0)])
def test_the_taint_of_spot_nodes_is_borne_where_spot_is_asked_for(
    resources: dict[str, str], capacity: str, borne: int
) -> None:
    metadata = {"annotations": {"kaito.sh/capacity-type": capacity}}
    found = pod(resources=resources, metadata=metadata).get("tolerations") or []
    assert found.count(SPOT) == borne
    template = {"spec": {"containers": [{"name": "a", "image": "r/a:1"}]}}
    own = pod(metadata=metadata, inference={"template": template})["tolerations"]
    assert own.count(SPOT) == borne


def test_the_settings_of_a_named_config_map_are_mounted_from_it() -> None:
    made = deployment(config=NAMED)["spec"]["template"]
    assert made["metadata"]["annotations"] == {"kaito.sh/config-checksum": "c0ffee"}
    (volume,) = (v for v in made["spec"]["volumes"] if v["name"] == "config")
    assert volume["configMap"] == {"name": "settings"}


def test_default_settings_travel_with_the_pod() -> None:
    made = deployment(config=DEFAULT)["spec"]["template"]
    assert made["metadata"]["annotations"] == {"kaito.sh/inference-config": "vllm: {}"}
    (volume,) = (v for v in made["spec"]["volumes"] if v["name"] == "config")
    (item,) = volume["downwardAPI"]["items"]
    assert item["path"] == "inference_config.yaml"


def test_without_settings_nothing_is_mounted() -> None:
    assert "annotations" not in deployment()["spec"]["template"]["metadata"]
    assert "KAITO_CONFIG_FILE" not in str(container())
    assert "/mnt/config" not in str(container())


if __name__ == "__main__":
    for case in CASES:
        text = yaml.safe_dump_all(rendered(case), sort_keys=False)
        (GOLDEN / f"{case}.yaml").write_text(text)
