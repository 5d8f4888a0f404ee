"""The pod of a preset's model server."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pykaito.api.quantity import parse_quantity
from pykaito.api.v1beta1.adapter import Adapter
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.reconcilers.inference.manifests import adapters as lora
from pykaito.reconcilers.inference.manifests import (
    adapters_file,
    transformers_server,
    vllm_server,
    weights,
)
from pykaito.reconcilers.inference.manifests import config as settings
from pykaito.reconcilers.inference.manifests.brought import recorded
from pykaito.reconcilers.inference.manifests.config import ConfigFile
from pykaito.reconcilers.inference.manifests.containers import (
    CONFINED,
    LAST_WORDS,
    RUNTIME_UID,
    copy_tool,
)
from pykaito.reconcilers.inference.manifests.identity import selector
from pykaito.reconcilers.inference.manifests.placement import (
    affinity,
    spot_tolerations,
    tolerations,
)
from pykaito.reconcilers.inference.manifests.services import SERVER_PORT
from pykaito.runtime.presets.gpu import is_accelerator
from pykaito.runtime.presets.plan import ModelServer, Plan

#: The only folder that a confined server can write to.
TMP = "/tmp"  # noqa: S108 - a volume of the pod's own

#: Where the libraries of a model server look for models unless they are told.
PUBLIC_HUB = "https://huggingface.co"

#: The key of a model access Secret, and the variable that libraries look for.
HF_TOKEN = "HF_TOKEN"  # noqa: S105 - a name, no secret

#: Seconds that requests in flight get to end when a pod is asked to stop.
DRAIN_SECONDS = 60

_REVISION = re.compile(r"--revision[ =]([0-9a-f]{40})\b")


def preset_pod(
    workspace: Workspace,
    plan: Plan,
    server: ModelServer,
    *,
    config: ConfigFile | None,
    nodes: Sequence[str],
    runtime_image: str,
    hub_endpoint: str,
) -> dict[str, Any]:
    """Return the template of the pods that serve a preset."""
    metadata: dict[str, Any] = {"labels": selector(workspace)}
    if config is not None:
        metadata["annotations"] = settings.annotations(config)
    adapters = workspace.inference.adapters if workspace.inference else ()
    follows = bool(adapters) and server.runtime == "vllm"
    main = workspace.metadata.name
    from_images = [
        *weights.copy_weights(server, main=main),
        *lora.copy_adapters(adapters, main=main),
    ]
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": RUNTIME_UID,
            "runAsGroup": RUNTIME_UID,
            "fsGroup": RUNTIME_UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": DRAIN_SECONDS + 15,
        "affinity": affinity(nodes),
        "initContainers": [copy_tool(runtime_image, main=main), *from_images]
        if from_images
        else [],
        "containers": [
            {
                "name": main,
                "image": runtime_image,
                **_server(workspace, plan, server),
                "env": _environment(plan, server, adapters, config, hub_endpoint),
                "ports": [{"name": "http", "containerPort": SERVER_PORT}],
                "resources": resources(plan),
                "terminationMessagePolicy": LAST_WORDS,
                "securityContext": CONFINED,
                "volumeMounts": [
                    *weights.mounts(server),
                    {"name": "tmp", "mountPath": TMP},
                    {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108 - a mount
                    *lora.mounts(adapters),
                    *([adapters_file.mount()] if follows else ()),
                    *([settings.mount()] if config is not None else ()),
                ],
            }
        ],
        "volumes": [
            *weights.volumes(server),
            {"name": "tmp", "emptyDir": {}},
            {"name": "dshm", "emptyDir": {"medium": "Memory"}},
            *([{"name": "tools", "emptyDir": {}}] if from_images else ()),
            *lora.volumes(adapters),
            *([adapters_file.volume(workspace)] if follows else ()),
            *([settings.volume(config)] if config is not None else ()),
        ],
    }
    borne = spot_tolerations(workspace)
    if any(map(is_accelerator, plan.node_resources)):
        borne = [*tolerations(plan.node_resources), *borne]
    if borne:
        spec["tolerations"] = borne
    if plan.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in plan.image_pull_secrets]
    template = {"metadata": metadata, "spec": spec}
    return recorded(template, adapters) if follows else template


def revision_of(deployed: Mapping[str, Any]) -> str:
    """Return the commit that a Deployment's command names; empty for none."""
    pod = deployed["spec"].get("template", {}).get("spec", {})
    words = [word for c in pod.get("containers", ()) for word in c.get("command") or ()]
    found = _REVISION.search(" ".join(words))
    return found[1] if found else ""


def resources(plan: Plan) -> dict[str, Any]:
    """Return the container's share of its node.

    Devices have to be limited to what is requested. A server that outgrows its
    memory should be ended rather than its neighbours; one that could have more
    processor time than it asked for, and nobody else wants it, should have it.
    """
    requests = dict(plan.node_resources)
    limits = {name: value for name, value in requests.items() if name != "cpu"}
    return {"requests": requests, "limits": limits}


def _environment(
    plan: Plan,
    server: ModelServer,
    adapters: Sequence[Adapter],
    config: ConfigFile | None,
    hub_endpoint: str,
) -> list[dict[str, Any]]:
    kept = weights.CACHE if server.cache_claim else TMP
    variables = {"HF_HOME": f"{kept}/huggingface", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if server.cache_claim:
        variables[weights.CACHE_VARIABLE] = weights.CACHE
    if not server.downloads:
        variables["HF_HUB_OFFLINE"] = "1"
    elif hub_endpoint not in {"", PUBLIC_HUB}:
        variables["HF_ENDPOINT"] = hub_endpoint
    if adapters and server.runtime == "vllm":
        variables["KAITO_ADAPTERS_FILE"] = adapters_file.FILE
    elif adapters:
        variables["KAITO_ADAPTERS"] = lora.listed(adapters)
    if config is not None:
        variables["KAITO_CONFIG_FILE"] = settings.FILE
    if cores := plan.node_resources.get("cpu"):
        # Of itself torch starts a thread for each core of the node.
        variables["OMP_NUM_THREADS"] = str(max(1, int(parse_quantity(cores))))
    if server.runtime == "vllm":
        variables |= vllm_server.environment(plan, server)
    environment: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, value in variables.items()
    ]
    if server.model_access_secret:
        # Not optional: the kubelet names a Secret that is missing, and the hub's
        # refusal without a token would not.
        reference = {"name": server.model_access_secret, "key": HF_TOKEN}
        environment.append({"name": HF_TOKEN, "valueFrom": {"secretKeyRef": reference}})
    return environment


def _server(workspace: Workspace, plan: Plan, server: ModelServer) -> dict[str, Any]:
    if server.runtime == "vllm":
        return vllm_server.container(workspace, plan, server, drain=DRAIN_SECONDS)
    return transformers_server.container(plan, server)
