"""What the chart makes of its values."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import pykaito
from hack import paths
from pykaito.commands.app import app
from pykaito.provisioners.azure_arm.settings import read_target
from pykaito.provisioners.karpenter.settings import read_settings
from pykaito.reconcilers.configs import DEFAULTS
from pykaito.runtime.presets.inference_config import KEY, parse_inference_config

CHART = paths.ROOT / "manifests" / "chart"
CRDS = paths.ROOT / "manifests" / "crds"


def named(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [obj for obj in objects if obj["kind"] == kind]


def services(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the Service of the metrics and that of the webhook."""
    return sorted(named(objects, "Service"), key=lambda obj: obj["metadata"]["name"])


def deployment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = named(objects, "Deployment")
    return found


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(objects)["spec"]["template"]["spec"]
    return spec


def operator(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (container,) = pod(objects)["containers"]
    found: dict[str, Any] = container
    return found


def test_helm_lint_finds_nothing(helm: Any) -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_and_the_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == pykaito.__version__


def test_the_crds_are_the_generated_ones(render: Any) -> None:
    generated = [yaml.safe_load(path.read_text()) for path in CRDS.glob("*.yaml")]
    rendered = named(render(), "CustomResourceDefinition")
    assert generated
    assert {obj["metadata"]["name"]: obj["spec"] for obj in rendered} == {
        obj["metadata"]["name"]: obj["spec"] for obj in generated
    }


def test_generated_crds_leave_their_metadata_to_the_chart() -> None:
    """The chart adds labels and annotations: a second key would hide its own."""
    for path in CRDS.glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["metadata"].keys() == {"name"}


def test_an_uninstall_keeps_the_crds_unless_told_otherwise(render: Any) -> None:
    policy = "helm.sh/resource-policy"
    kept = named(render(), "CustomResourceDefinition")
    assert {obj["metadata"]["annotations"][policy] for obj in kept} == {"keep"}
    deleted = named(render("crds.keep=false"), "CustomResourceDefinition")
    assert not any("annotations" in obj["metadata"] for obj in deleted)


def test_crds_can_be_left_to_someone_else(render: Any) -> None:
    assert not named(render("crds.enabled=false"), "CustomResourceDefinition")


def test_the_packaged_chart_holds_the_crds(helm: Any, tmp_path: Path) -> None:
    """They are a link in the repository."""
    assert helm("package", str(CHART), "-d", str(tmp_path)).returncode == 0
    (package,) = tmp_path.glob("*.tgz")
    shown = helm("template", "pykaito", str(package)).stdout
    assert shown.count("kind: CustomResourceDefinition\n") == len(
        list(CRDS.glob("*.yaml"))
    )


def test_the_operator_gets_its_arguments(render: Any) -> None:
    values = ("logLevel=debug", "logFormat=console", "extraArgs[0]=--one-more")
    assert operator(render(*values))["args"] == [
        "operator",
        "--namespace=$(POD_NAMESPACE)",
        "--metrics-port=8080",
        "--health-port=8081",
        "--log-level=debug",
        "--log-format=console",
        "--default-runtime=vllm",
        f"--vllm-image=ghcr.io/pykaito/vllm:{pykaito.__version__}",
        f"--transformers-image=ghcr.io/pykaito/transformers:{pykaito.__version__}",
        "--hub-endpoint=https://huggingface.co",
        "--provisioner=preferred_nodes",
        "--max-machines=100",
        "--max-machines-per-workspace=8",
        "--repair=replace",
        "--launch-timeout=1800",
        "--node-timeout=600",
        "--keep-failed=3600",
        "--webhook",
        "--webhook-port=9443",
        "--webhook-service=pykaito-webhook",
        "--one-more",
    ]


def test_the_default_runtime_and_its_image_are_settings(render: Any) -> None:
    values = ("runtimes.default=transformers", "runtimes.vllm.image.tag=mine")
    arguments = operator(render(*values))["args"]
    assert "--default-runtime=transformers" in arguments
    assert "--vllm-image=ghcr.io/pykaito/vllm:mine" in arguments


def test_model_configs_are_read_from_a_volume(render: Any) -> None:
    objects = render("modelConfigs.configMap.name=models")
    assert pod(objects)["volumes"] == [
        {"name": "model-configs", "configMap": {"name": "models"}}
    ]
    (mount,) = operator(objects)["volumeMounts"]
    assert f"--model-configs={mount['mountPath']}" in operator(objects)["args"]
    assert mount["readOnly"]


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    """Return the variables of the operator that have a plain value."""
    return {v["name"]: v["value"] for v in operator(objects)["env"] if "value" in v}


def test_provisioners_are_configured_by_the_environment(render: Any) -> None:
    objects = render(
        "karpenter.nodeClass.group=karpenter.k8s.aws",
        "azure.subscriptionId=1-2",
        "azure.resourceGroup=group",
        "azure.clusterName=cluster",
    )
    assert environment(objects) == {
        "KARPENTER_NODE_CLASS_GROUP": "karpenter.k8s.aws",
        "KARPENTER_NODE_CLASS_NAME": "default",
        "ARM_SUBSCRIPTION_ID": "1-2",
        "ARM_RESOURCE_GROUP": "group",
        "AZURE_CLUSTER_NAME": "cluster",
    }
    target = read_target(environment(objects))
    assert (target.kind, target.cluster) == ("aks", "cluster")
    karpenter = read_settings(environment(objects))
    assert karpenter.node_class(None)["kind"] == "EC2NodeClass"


def test_a_workload_identity_is_named_where_azure_looks_for_it(render: Any) -> None:
    objects = render("azure.clientId=1-2", "azure.tenantId=3-4")
    (account,) = named(objects, "ServiceAccount")
    assert account["metadata"]["annotations"] == {
        "azure.workload.identity/client-id": "1-2",
        "azure.workload.identity/tenant-id": "3-4",
    }
    labels = deployment(objects)["spec"]["template"]["metadata"]["labels"]
    assert labels["azure.workload.identity/use"] == "true"


def test_a_cluster_without_a_hub_asks_none(render: Any) -> None:
    assert "--hub-endpoint=" in operator(render("hub.endpoint="))["args"]


def test_every_argument_is_one_that_the_operator_takes(render: Any) -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    values = ("hub.insecureRegistries[0]=a:1", "modelConfigs.configMap.name=models")
    name, *arguments = operator(render(*values))["args"]
    known = {
        option
        for parameter in command.commands[name].params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {argument.partition("=")[0] for argument in arguments} <= known


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ((), f"ghcr.io/pykaito/operator:{pykaito.__version__}"),
        (("image.tag=abc",), "ghcr.io/pykaito/operator:abc"),
        (
            ("image.repository=localhost:5000/x",),
            f"localhost:5000/x:{pykaito.__version__}",
        ),
        (
            ("image.tag=abc", f"image.digest=sha256:{'0' * 64}"),
            f"ghcr.io/pykaito/operator@sha256:{'0' * 64}",
        ),
    ],
)
def test_an_image_is_its_digest_or_its_tag_or_the_charts_version(
    render: Any, values: tuple[str, ...], image: str
) -> None:
    assert operator(render(*values))["image"] == image


def test_the_pod_meets_the_restricted_pod_security_standard(render: Any) -> None:
    objects = render()
    assert pod(objects)["securityContext"]["runAsNonRoot"] is True
    assert pod(objects)["securityContext"]["seccompProfile"] == {
        "type": "RuntimeDefault"
    }
    assert operator(objects)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_selectors_select_the_pods(render: Any) -> None:
    objects = render(
        "replicaCount=2", "serviceMonitor.enabled=true", "networkPolicy.enabled=true"
    )
    labels = deployment(objects)["spec"]["template"]["metadata"]["labels"].items()
    metrics, webhook = services(objects)
    (budget,) = named(objects, "PodDisruptionBudget")
    (policy,) = named(objects, "NetworkPolicy")
    (monitor,) = named(objects, "ServiceMonitor")
    assert deployment(objects)["spec"]["selector"]["matchLabels"].items() <= labels
    assert metrics["spec"]["selector"].items() <= labels
    assert webhook["spec"]["selector"].items() <= labels
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels
    monitored = monitor["spec"]["selector"]["matchLabels"].items()
    assert monitored <= metrics["metadata"]["labels"].items()


def test_a_disruption_budget_comes_with_the_second_replica(render: Any) -> None:
    assert not named(render(), "PodDisruptionBudget")
    assert len(named(render("replicaCount=2"), "PodDisruptionBudget")) == 1


def test_probes_and_the_metrics_service_meet_the_operators_ports(render: Any) -> None:
    container = operator(render())
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"metrics": 8080, "health": 8081, "webhook": 9443}
    assert container["livenessProbe"]["httpGet"] == {
        "path": "/healthz",
        "port": "health",
    }
    assert container["readinessProbe"]["httpGet"] == {
        "path": "/readyz",
        "port": "health",
    }
    metrics, _ = services(render())
    assert metrics["spec"]["ports"][0]["targetPort"] == "metrics"


def test_the_settings_for_all_are_some_that_the_operator_reads(render: Any) -> None:
    (found,) = named(render(), "ConfigMap")
    assert found["metadata"]["name"] == DEFAULTS
    assert found["metadata"]["namespace"] == "pykaito-system"
    assert parse_inference_config(found["data"][KEY]).warnings == ()
    vllm = "inferenceConfig=vllm: {max-model-len: 4096}"
    (found,) = named(render(vllm), "ConfigMap")
    assert parse_inference_config(found["data"][KEY]).max_model_len == 4096


def test_common_labels_are_on_every_object(render: Any) -> None:
    for obj in render("commonLabels.team=models"):
        assert obj["metadata"]["labels"]["team"] == "models", obj["kind"]


def test_every_value_has_a_schema_and_every_schema_a_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(value: Any, schema: dict[str, Any], path: str) -> None:
        if schema.get("additionalProperties") is not False:
            return
        known = schema["properties"].keys() - {"global", "limits", "claims"}
        assert value.keys() == known, path
        for key, inner in value.items():
            compare(inner, schema["properties"][key], f"{path}.{key}")

    compare(values, schema, "")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("replicas=2", "replicas"),
        ("image.name=x", "name"),
        ("logLevel=loud", "logLevel"),
        ("image.digest=abc", "digest"),
        ("runtimes.magic.image.tag=x", "magic"),
        ("runtimes.default=magic", "default"),
        ("hub.endpoint=huggingface.co", "endpoint"),
        ("hub.endpoint=https://me:secret@hub.example", "endpoint"),
        ("webhook.port=443", "port"),
        ("webhook.failurePolicy=ignore", "failurePolicy"),
        ("webhook.timeoutSeconds=31", "timeoutSeconds"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Any, value: str, named: str) -> None:
    done = helm("template", str(CHART), "--set", value)
    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.parametrize(
    ("provisioner", "asks_for"),
    [
        ("preferred_nodes", {"preferredNodes": ["NODE"]}),
        ("karpenter", {"instanceType": "INSTANCE_TYPE"}),
    ],
)
def test_the_notes_show_a_workspace_that_can_be_pasted(
    helm: Any, provisioner: str, asks_for: dict[str, Any]
) -> None:
    done = helm(
        *("install", "pykaito", str(CHART), "--dry-run=client"),
        *("--set", "crds.enabled=false"),
        *("--set", f"provisioning.provisioner={provisioner}"),
    )
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    document = notes.partition("<<EOF\n")[2].partition("EOF")[0]
    workspace = yaml.safe_load(document)
    assert workspace["kind"] == "Workspace"
    selector = {"labelSelector": {"matchLabels": {"apps": "phi-3-5"}}}
    assert workspace["resource"] == asks_for | selector
    assert ("kubectl label node NODE" in notes) == ("preferredNodes" in asks_for)
