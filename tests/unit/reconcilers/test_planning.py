"""The nodes and the plan of a Workspace, decided together."""

from typing import Any

import pytest

from pykaito.reconcilers.inference import manifests
from pykaito.reconcilers.planning import choose
from pykaito.reconcilers.workspace.machines import made_machine_object
from pykaito.runtime.presets.plan import Plan, PlanError, PlanReason
from tests.unit.reconcilers.workspaces import node, raw_workspace, workspace

LABELS = {"apps": "falcon-7b", "node.kubernetes.io/instance-type": "Standard_NC12s_v3"}


def gpu_node(name: str, *, count: int = 1, mib: int = 16160, **labels: str) -> Any:
    gpus = {"nvidia.com/gpu.count": str(count), "nvidia.com/gpu.memory": str(mib)}
    return node(name, labels=LABELS | gpus | labels, gpus=count)


def planned(*nodes: Any, preset: str = "falcon-7b", **resource: Any) -> Plan:
    spec = workspace(resource=resource, inference={"preset": {"name": preset}})
    return choose(spec, nodes)[1]


def test_the_demo_gets_one_gpu_and_the_command_of_its_preset() -> None:
    demo = gpu_node(
        "a",
        count=8,
        mib=81920,
        **{"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"},
    )
    plan = planned(
        demo,
        preset="phi-3.5-mini-instruct",
        instanceType="Standard_NC24ads_A100_v4",
        preferredNodes=["a"],
    )
    assert plan.node_resources == {"nvidia.com/gpu": "1"}
    assert "--torch_dtype auto " in manifests.command(plan, plan.server)
    assert "--max_model_len" not in manifests.command(plan, plan.server)
    assert plan.warnings == ()


def test_falcon_7b_on_a_v100_is_loaded_in_float16() -> None:
    plan = planned(instanceType="Standard_NC6s_v3")
    assert plan.gpus_per_node == 1
    assert "--torch_dtype float16 " in manifests.command(plan, plan.server)


def test_a_context_that_memory_limits_is_told_to_the_server_and_the_user() -> None:
    plan = planned(preset="phi-3-mini-128k-instruct", instanceType="Standard_NC6s_v3")
    assert plan.server.context_length < plan.server.preset.context_length
    assert f"--max_model_len {plan.server.context_length}" in manifests.command(
        plan, plan.server
    )
    (warning,) = plan.warnings
    assert f"{plan.server.context_length} of the 131072 tokens" in warning


def test_a_node_that_the_model_fits_is_taken_before_one_it_does_not() -> None:
    small, large = gpu_node("a"), gpu_node("z", count=2, mib=81920)
    spec = workspace(inference={"preset": {"name": "falcon-40b"}})
    selection, plan = choose(spec, [small, large])
    assert selection.nodes == ("z",)
    assert plan.gpus_per_node == 2


def test_replicas_are_sized_for_the_weakest_of_their_nodes() -> None:
    nodes = gpu_node("a", count=8, mib=81920), gpu_node("b", count=8, mib=40536)
    assert planned(*nodes, preset="falcon-40b", count=2).gpus_per_node == 4


def test_a_node_that_tells_nothing_gets_the_catalogues_number() -> None:
    plan = planned(node("a", labels={"apps": "falcon-7b"}), instanceType=None)
    assert plan.gpus_per_node == 1
    assert plan.server.dtype == "bfloat16"


def test_an_unknown_instance_type_is_no_error() -> None:
    assert planned(instanceType="Standard_NC1_Imagined").gpus_per_node == 1


def test_what_cannot_fit_is_refused_with_need_found_and_remedy() -> None:
    with pytest.raises(PlanError) as caught:
        planned(preset="falcon-40b", instanceType="Standard_NC6s_v3")
    assert caught.value.reason is PlanReason.MODEL_DOES_NOT_FIT
    message = str(caught.value)
    assert message.startswith("inference.preset.name:")
    assert "77.9 GiB" in message
    assert "1 x 15.8 GiB (Standard_NC6s_v3)" in message
    assert "Standard_NC40ads_H100_v5" in message


def test_what_no_node_holds_says_so() -> None:
    with pytest.raises(PlanError, match="no instance type known holds it"):
        planned(preset="deepseek-v3-0324", instanceType="Standard_NC4_A2")


CPU = {"annotations": {"kaito.sh/accelerator": "cpu"}}


def cpu_node(name: str, *, cpu: str = "4", memory: str = "15930Mi") -> Any:
    found = node(name, labels=LABELS, gpus=None)
    found["status"]["allocatable"] = {"cpu": cpu, "memory": memory}
    return found


def test_a_workspace_on_cpus_takes_cpu_and_memory_of_its_node() -> None:
    spec = workspace(metadata=CPU, inference={"preset": {"name": "phi-2"}})
    selection, plan = choose(spec, [cpu_node("a")])
    assert selection.nodes == ("a",)
    assert plan.node_resources.keys() == {"cpu", "memory"}
    assert plan.node_resources["cpu"] == "2"
    assert plan.memory.capacity == 15872 * 2**20


def test_a_node_with_too_little_memory_is_taken_last() -> None:
    small, large = cpu_node("a", memory="4Gi"), cpu_node("z", memory="64Gi")
    spec = workspace(metadata=CPU, inference={"preset": {"name": "phi-2"}})
    assert choose(spec, [small, large])[0].nodes == ("z",)
    with pytest.raises(PlanError, match=r"4\.0 GiB for pods \(node a\)"):
        choose(spec, [small])


def test_an_annotation_that_means_nothing_is_refused_whatever_the_nodes() -> None:
    wrong = {"annotations": {"kaito.sh/accelerator": "tpu"}}
    for nodes in ([], [cpu_node("a")]):
        with pytest.raises(PlanError, match="found 'tpu'"):
            choose(workspace(metadata=wrong), nodes)


def foreign_node(name: str, resource: str, **labels: str) -> Any:
    found = node(name, labels=LABELS | labels, gpus=None)
    found["metadata"]["labels"].pop("node.kubernetes.io/instance-type")
    found["status"]["allocatable"][resource] = "8"
    return found


MI210 = {"amd.com/gpu.vram": "64G", "amd.com/gpu.product-name": "Instinct_MI210"}
OF_ANY_TYPE = {"instanceType": None}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            foreign_node("a", "amd.com/gpu", **MI210),
            "found 8 amd.com/gpu of AMD (Instinct_MI210 of node a)",
        ),
        (
            foreign_node("a", "gpu.intel.com/xe"),
            "found 8 gpu.intel.com/xe of Intel (GPU of node a)",
        ),
    ],
)
def test_a_preset_on_gpus_that_no_runtime_computes_on_is_refused_with_what_would_help(
    found: Any, told: str
) -> None:
    with pytest.raises(PlanError) as caught:
        planned(found, **OF_ANY_TYPE)
    assert caught.value.reason is PlanReason.RUNTIME_NOT_SUPPORTED
    message = str(caught.value)
    assert message.startswith(f"inference.preset.name: {told}")
    for remedy in ("NVIDIA", "kaito.sh/accelerator: cpu", "inference.template"):
        assert remedy in message


def test_a_node_with_gpus_of_another_vendor_is_taken_last_and_spoils_no_other() -> None:
    nodes = foreign_node("a", "amd.com/gpu"), gpu_node("z")
    spec = workspace(resource=OF_ANY_TYPE)
    selection, plan = choose(spec, nodes)
    assert selection.nodes == ("z",)
    assert plan.node_resources == {"nvidia.com/gpu": "1"}
    with pytest.raises(PlanError, match="of AMD"):
        planned(*nodes, count=2, **OF_ANY_TYPE)


def test_cpus_compute_beside_gpus_of_any_vendor() -> None:
    spec = workspace(
        metadata=CPU, resource=OF_ANY_TYPE, inference={"preset": {"name": "phi-2"}}
    )
    assert choose(spec, [foreign_node("a", "amd.com/gpu")])[0].nodes == ("a",)


@pytest.mark.parametrize("resource", ["amd.com/gpu", "gpu.intel.com/i915"])
def test_a_pod_template_has_nodes_found_and_made_by_any_vendors_resource(
    resource: str,
) -> None:
    limits = {"resources": {"limits": {resource: "2"}}}
    server = {"name": "server", "image": "r/server:1"} | limits
    spec = workspace(
        resource={"instanceType": "g4ad.8xlarge", "preferredNodes": ["a"]},
        inference={"template": {"spec": {"containers": [server]}}},
    )
    selection, plan = choose(spec, [foreign_node("a", resource), gpu_node("z")])
    assert selection.nodes == ("a",)
    made = made_machine_object(raw_workspace(), spec, plan, 0, "karpenter")
    assert made["spec"]["resources"] == {resource: "2"}
    assert made["spec"]["taints"] == [
        {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    ]
    pod = manifests.deployment(spec, raw_workspace(), plan, nodes=["a"], images={})[
        "spec"
    ]["template"]["spec"]
    assert pod["containers"] == [server]
    keys = {toleration["key"] for toleration in pod["tolerations"]}
    assert keys == {resource, "nvidia.com/gpu", "sku"}


def test_a_pod_template_is_bound_to_nodes_that_have_what_it_requests() -> None:
    template = {
        "spec": {
            "containers": [
                {
                    "name": "server",
                    "image": "r/server:1",
                    "resources": {"limits": {"nvidia.com/gpu": "2"}},
                }
            ]
        }
    }
    spec = workspace(inference={"template": template})
    nodes = gpu_node("a"), gpu_node("z", count=2)
    selection, plan = choose(spec, nodes)
    assert selection.nodes == ("z",)
    assert plan.server is None
