"""`pykaito plan` tells what a Workspace would become, without a cluster."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.command import pykaito
from tests.unit.reconcilers.workspaces import raw_workspace

EXAMPLES = Path(__file__).parents[3] / "manifests" / "examples"


def plan(*objects: dict[str, Any], options: tuple[str, ...] = ()) -> Any:
    return pykaito("plan", "-f", "-", *options, stdin=yaml.safe_dump_all(objects))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.name)
def test_every_example_has_a_plan(path: Path) -> None:
    done = pykaito("plan", "-f", str(path))
    assert done.exit_code == 0, done.stderr
    assert "  nodes  " in done.stdout


@pytest.mark.parametrize("runtime", ["vllm", "transformers"])
def test_a_plan_names_nodes_gpus_runtime_image_and_weights(runtime: str) -> None:
    image = f"registry.example.com/{runtime}:2"
    done = plan(
        raw_workspace(resource={"count": 2}, inference={"preset": {"name": "phi-2"}}),
        options=("--default-runtime", runtime, f"--{runtime}-image", image),
    )
    facts = dict(
        line.strip().split("  ", 1) for line in done.stdout.splitlines() if "  " in line
    )
    facts = {key: value.strip() for key, value in facts.items()}
    assert facts["nodes"] == "2, one replica on each"
    assert facts["of type"] == "Standard_NC12s_v3"
    assert facts["GPUs"] == "1 per node"
    assert (facts["runtime"], facts["image"]) == (runtime, image)
    assert facts["weights"].startswith("downloaded from the hub, microsoft/phi-2 at ")


@pytest.mark.parametrize(
    ("annotations", "told", "volume"),
    [
        (
            {"kaito.sh/use-local-weights": "true"},
            "mounted from the node's folder /opt/kaito/models/falcon-7b",
            {"hostPath": {"path": "/opt/kaito/models/falcon-7b", "type": "Directory"}},
        ),
        (
            {"kaito.sh/weights-claim": "models/tii"},
            "mounted from folder tii of the PersistentVolumeClaim models\n",
            {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        ),
    ],
)
def test_a_plan_tells_where_weights_come_from(
    annotations: dict[str, str], told: str, volume: dict[str, Any]
) -> None:
    asked = raw_workspace(metadata={"annotations": annotations})
    assert told in plan(asked).stdout
    rendered = plan(asked, options=("-o", "yaml")).stdout
    pods = [
        made["spec"]["template"]["spec"]
        for made in yaml.safe_load_all(rendered)
        if made["kind"] == "Deployment"
    ]
    assert [{"name": "weights", **volume} in pod["volumes"] for pod in pods] == [True]


def test_a_plan_tells_what_is_kept_of_a_start() -> None:
    kept = {"annotations": {"kaito.sh/cache-claim": "kept"}}
    told = plan(raw_workspace(metadata=kept)).stdout
    assert "cache kept  on the PersistentVolumeClaim kept\n" in told
    assert "downloaded from the hub" in told


def test_a_plan_takes_vllm_where_nothing_is_said_and_transformers_on_cpus() -> None:
    assert "  runtime    vllm\n" in plan(raw_workspace()).stdout
    on_cpu = {"annotations": {"kaito.sh/accelerator": "cpu"}}
    assert "  runtime    transformers\n" in plan(raw_workspace(metadata=on_cpu)).stdout


def test_documents_of_other_kinds_are_passed_over() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    done = plan(config, raw_workspace())
    assert done.exit_code == 0
    assert "falcon-7b" in done.stdout


def test_a_file_without_a_workspace_fails() -> None:
    done = plan({"apiVersion": "v1", "kind": "ConfigMap"})
    assert done.exit_code == 1
    assert "found no Workspace" in done.stderr


def test_the_objects_are_those_that_the_operator_would_apply() -> None:
    done = plan(raw_workspace(), options=("-o", "yaml", "--nodes", "gpu-7"))
    machine, service, deployment = yaml.safe_load_all(done.stdout)
    assert machine["kind"] == "Machine"
    assert machine["spec"]["nodeName"] == "gpu-7"
    assert machine["spec"]["resources"] == {"nvidia.com/gpu": "1"}
    assert service["kind"] == "Service"
    assert deployment["kind"] == "Deployment"
    affinity = json.dumps(deployment["spec"]["template"]["spec"]["affinity"])
    assert "gpu-7" in affinity
    for made in (machine, service, deployment):
        assert "ownerReferences" not in made["metadata"]


def test_the_list_that_servers_of_vllm_follow_is_planned() -> None:
    example = str(EXAMPLES / "lora-adapters.yaml")
    done = pykaito("plan", "-f", example, "-o", "yaml", "--default-runtime", "vllm")
    found = list(yaml.safe_load_all(done.stdout))
    (listed,) = (item for item in found if item["kind"] == "ConfigMap")
    assert listed["metadata"]["name"] == "workspace-falcon-7b-support-adapters"
    assert "ownerReferences" not in listed["metadata"]
    assert json.loads(listed["data"]["adapters.json"])[0]["strength"] == "0.8"


MADE = {"annotations": {"kaito.sh/provisioner": "karpenter"}}


def made_of(done: Any) -> list[dict[str, Any]]:
    found = yaml.safe_load_all(done.stdout)
    return [item for item in found if item["kind"] == "Machine"]


def test_machines_that_would_be_made_ask_for_a_type_labels_disk_and_taint() -> None:
    spec = raw_workspace(metadata=MADE, resource={"count": 2})
    first, second = made_of(plan(spec, options=("-o", "yaml")))
    names = [machine["metadata"]["name"] for machine in (first, second)]
    assert names == ["workspace-falcon-7b-0", "workspace-falcon-7b-1"]
    assert first["spec"] == {
        "provisioner": "karpenter",
        "instanceType": "Standard_NC12s_v3",
        "resources": {"nvidia.com/gpu": "1"},
        "labels": {
            "apps": "falcon-7b",
            "kaito.sh/workspace": "workspace-falcon-7b",
            "kaito.sh/workspacenamespace": "default",
        },
        "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        "storage": "50Gi",
        "capacityType": "on-demand",
    }
    assert "ownerReferences" not in first["metadata"]


def test_the_text_tells_what_would_be_made_and_how() -> None:
    annotations = {
        "kaito.sh/provisioner": "karpenter",
        "kaito.sh/capacity-type": "spot",
        "kaito.sh/zones": "westeurope-1,westeurope-2",
        "kaito.sh/node-class-name": "gpu",
    }
    done = plan(raw_workspace(metadata={"annotations": annotations}))
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    start = lines.index("made workspace-falcon-7b-0 by karpenter, spot")
    assert lines[start + 1 : start + 5] == [
        "disk 50Gi",
        "taints sku=gpu:NoSchedule",
        "zones westeurope-1, westeurope-2",
        "class gpu",
    ]


def test_nodes_are_made_by_whom_the_operator_is_told_unless_the_workspace_says() -> (
    None
):
    told = ("-o", "yaml", "--provisioner", "azure_arm")
    makers = {
        None: "azure_arm",
        "karpenter": "karpenter",
        "preferred_nodes": "preferred_nodes",
    }
    for named, maker in makers.items():
        annotations = {"kaito.sh/provisioner": named} if named else {}
        spec = raw_workspace(metadata={"annotations": annotations})
        (machine,) = made_of(plan(spec, options=told))
        assert machine["spec"]["provisioner"] == maker


def test_without_an_instance_type_nothing_is_made_unless_the_workspace_says_so() -> (
    None
):
    typeless = {"instanceType": None, "preferredNodes": ["gpu-7"]}
    told = ("-o", "yaml", "--provisioner", "karpenter")
    (machine,) = made_of(plan(raw_workspace(resource=typeless), options=told))
    assert machine["spec"]["nodeName"] == "gpu-7"
    done = plan(raw_workspace(metadata=MADE, resource=typeless))
    assert done.exit_code == 1
    assert "resource.instanceType: found none; 'karpenter' makes nodes" in done.stderr


@pytest.mark.parametrize("nodes", [(), ("--nodes", "gpu-7")])
def test_prepared_nodes_come_first_and_the_rest_is_made(nodes: tuple[str, ...]) -> None:
    preferred = [] if nodes else ["gpu-7"]
    spec = raw_workspace(
        metadata=MADE, resource={"count": 2, "preferredNodes": preferred}
    )
    done = plan(spec, options=("-o", "yaml", *nodes))
    prepared, made = made_of(done)
    assert prepared["spec"]["nodeName"] == "gpu-7"
    assert made["metadata"]["name"] == "workspace-falcon-7b-0"
    affinity = done.stdout[done.stdout.index("affinity") :]
    assert "- gpu-7\n" in affinity
    assert "- node-2\n" in affinity


def test_a_provisioner_of_no_release_is_a_doubt_and_no_error() -> None:
    for annotations, where in (
        ({"kaito.sh/provisioner": "karpentr"}, "metadata.annotations[kaito.sh/"),
        ({}, "--provisioner: found 'karpentr'"),
    ):
        spec = raw_workspace(metadata={"annotations": annotations})
        done = plan(spec, options=("--provisioner", "karpentr"))
        assert done.exit_code == 0
        warning = done.stdout.splitlines()[-1]
        assert where in warning
        assert warning.endswith("did you mean 'karpenter'?")


def test_json_is_a_list_that_kubectl_reads() -> None:
    done = plan(raw_workspace(), raw_workspace(), options=("-o", "json"))
    loaded = json.loads(done.stdout)
    assert loaded["kind"] == "List"
    kinds = [item["kind"] for item in loaded["items"]]
    assert kinds == ["Machine", "Service", "Deployment"] * 2


def test_preferred_nodes_come_before_made_up_ones() -> None:
    spec = raw_workspace(resource={"count": 2, "preferredNodes": ["gpu-7"]})
    done = plan(spec, options=("-o", "yaml"))
    assert "- gpu-7\n" in done.stdout
    assert "- node-2\n" in done.stdout


def test_other_than_as_many_nodes_as_planned_are_refused() -> None:
    done = plan(raw_workspace(), options=("-o", "yaml", "--nodes", "a,b"))
    assert done.exit_code == 1
    assert "--nodes: found 2 (a, b)" in done.stderr
    assert done.stdout == ""


def test_the_namespace_is_the_documents_own_or_else_the_one_given() -> None:
    named, unnamed = raw_workspace(), raw_workspace()
    named["metadata"]["namespace"] = "own"
    del unnamed["metadata"]["namespace"]
    done = plan(named, unnamed, options=("-o", "yaml", "-n", "given"))
    found = [o["metadata"]["namespace"] for o in yaml.safe_load_all(done.stdout)]
    assert found == ["own"] * 3 + ["given"] * 3


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"inference": {"preset": {"name": "falcon-7"}}}, "inference.preset.name"),
        ({"resource": {"count": 0}}, "resource.count"),
        ({"resource": {"labelSelector": None}}, "resource.labelSelector"),
        (
            {"inference": {"preset": {"name": "llama-2-7b"}}},
            "inference.preset.accessMode",
        ),
        ({"inferences": {}}, "inferences: no such field; did you mean inference?"),
        (
            {"inference": {"preset": {"name": "phi-2", "accesMode": "public"}}},
            "inference.preset.accesMode: no such field",
        ),
        ({"metadata": {"name": ""}}, "metadata.name"),
    ],
)
def test_a_refusal_is_one_line_with_the_fields_path(
    spec: dict[str, Any], words: str
) -> None:
    done = plan(raw_workspace(**spec))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_workspaces_that_can_be_planned_are_although_another_is_refused() -> None:
    other = raw_workspace(inference={"preset": {"name": "zzz"}})
    done = plan(raw_workspace(), other)
    assert done.exit_code == 1
    assert "default/workspace-falcon-7b" in done.stdout
    assert "standard input[2]" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: [1\n", "standard input:3"),
        ("- a\n- b\n", "found no kind"),
        ("just words", "found no kind"),
    ],
)
def test_what_is_no_manifest_is_refused_without_a_traceback(
    text: str, words: str
) -> None:
    done = pykaito("plan", "-f", "-", stdin=text)
    assert done.exit_code == 1
    assert words in done.stderr


#: What takes long to load, and serves nothing where no cluster is asked.
HEAVY = {
    "aiohttp", "asyncio", "click", "cryptography", "httpx", "kr8s", "orjson",
    "prometheus_client", "rich", "structlog", "tenacity", "torch", "transformers",
    "typer",
    "pykaito.api.structural", "pykaito.api.v1alpha1.machine", "pykaito.commands.app",
    "pykaito.operator.client",
}  # fmt: skip


MAKES = ("plan", "--provisioner", "karpenter", "-f")


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (("plan", "-f"), set()),
        (MAKES, {"pykaito.api.v1alpha1.machine"}),
        (("validate", "-f"), set()),
    ],
)
def test_what_asks_no_cluster_loads_none_of_what_speaks_to_one(
    command: tuple[str, ...], needed: set[str]
) -> None:
    code = "import sys; from pykaito.cli import main\nmain()\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *command, str(EXAMPLES / "falcon-7b.yaml")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert HEAVY & set(done.stdout.splitlines()[-1].split()) == needed


def memory_of(text: str) -> dict[str, float]:
    """Read the lines of the breakdown, in GiB."""
    lines = text[text.index("  memory ") :].splitlines()[:4]
    return {
        line.split()[0]: float(line.split()[1].removesuffix("Gi")) for line in lines
    }


def test_the_parts_of_the_memory_add_up() -> None:
    done = plan(raw_workspace(inference={"preset": {"name": "phi-2"}}))
    memory = memory_of(done.stdout)
    parts = memory["weights"] + memory["cache"] + memory["reserve"]
    assert memory["memory"] == pytest.approx(parts, abs=0.02)
    assert "of 15.78Gi (" in done.stdout


def test_of_unknown_gpus_no_memory_is_made_up() -> None:
    named = {"instanceType": None, "preferredNodes": ["gpu-1"]}
    done = plan(raw_workspace(resource=named))
    assert "memory     not known" in done.stdout


def test_a_cpu_is_planned_by_its_cores_and_memory() -> None:
    done = pykaito("plan", "-f", str(EXAMPLES / "phi-2-on-cpu.yaml"))
    assert "cpu" in done.stdout
    assert "of the node's RAM" in done.stdout


def test_settings_come_from_a_config_map_among_the_documents() -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "params"},
        "data": {"inference_config.yaml": "vllm: {max-model-len: 512}"},
    }
    spec = raw_workspace(inference={"preset": {"name": "phi-2"}, "config": "params"})
    done = plan(spec, config)
    assert "512 tokens of context" in done.stdout
    assert "settings   of the ConfigMap params" in done.stdout
    rendered = plan(spec, config, options=("-o", "yaml"))
    assert "configMap:\n" in rendered.stdout
    elsewhere = {**config, "metadata": {"name": "params", "namespace": "other"}}
    assert "ConfigMap params is not in these files" in plan(spec, elsewhere).stdout


def test_a_config_map_that_holds_no_settings_is_refused() -> None:
    config = {"kind": "ConfigMap", "metadata": {"name": "params"}, "data": {"a": "b"}}
    spec = raw_workspace(inference={"preset": {"name": "phi-2"}, "config": "params"})
    done = plan(config, spec)
    assert done.exit_code == 1
    assert "has no key inference_config.yaml, found a" in done.stderr


def test_adapters_are_named_with_what_they_are_loaded_from() -> None:
    done = pykaito("plan", "-f", str(EXAMPLES / "lora-adapters.yaml"))
    assert "adapter    " in done.stdout


def test_an_instance_type_that_nobody_sells_is_refused_with_the_nearest() -> None:
    done = plan(raw_workspace(resource={"instanceType": "Standard_NC12sv3"}))
    assert done.exit_code == 1
    assert "did you mean Standard_NC12s_v3" in done.stderr
    assert "(InstanceTypeUnknown)" in done.stderr


def test_all_faults_are_told_one_on_each_line() -> None:
    wrong = raw_workspace(
        resource={"count": 0, "preferedNodes": ["a"]},
        inference={"preset": {"name": "a/b/c"}},
    )
    done = plan(wrong)
    assert sorted(line.split(": ")[3] for line in done.stderr.splitlines()) == [
        "inference.preset.name",
        "resource.count",
        "resource.preferedNodes",
    ]


def test_a_model_that_exceeds_the_instance_type_is_refused_with_one_that_holds_it() -> (
    None
):
    done = plan(raw_workspace(inference={"preset": {"name": "falcon-40b"}}))
    assert done.exit_code == 1
    assert "ModelDoesNotFit" in done.stderr
    assert "Standard_NC40ads_H100_v5" in done.stderr


def test_a_context_that_memory_limits_is_a_warning() -> None:
    preset = {"preset": {"name": "phi-3-mini-128k-instruct"}}
    done = plan(raw_workspace(inference=preset))
    assert done.exit_code == 0
    assert "of the 131072 tokens" in done.stdout
