"""The Deployment that runs a replica of the model on each node."""

from collections.abc import Mapping, Sequence
from typing import Any

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.manifests.config import ConfigFile
from pykaito.reconcilers.inference.manifests.custom_pod import custom_pod
from pykaito.reconcilers.inference.manifests.identity import metadata, selector
from pykaito.reconcilers.inference.manifests.preset_pod import preset_pod
from pykaito.reconcilers.inference.manifests.probes import loading_seconds
from pykaito.runtime.presets.plan import Plan
from pykaito.runtime.presets.runtimes import Runtime

#: How long a container of which nothing is known may take until it serves.
CUSTOM_LOADING_SECONDS = 1800
#: For how long a container that tells no readiness has to run before its pod counts:
#: one that ends at once is ready for a moment each time the kubelet starts it again.
UNPROBED_SECONDS = 10
#: For pulling images, beside loading the model.
PULLING_SECONDS = 600


def deployment(
    workspace: Workspace,
    owner: Object,
    plan: Plan,
    *,
    nodes: Sequence[str],
    images: Mapping[Runtime, str],
    hub_endpoint: str = "",
    config: ConfigFile | None = None,
    surge: bool = False,
) -> dict[str, Any]:
    """Return the Deployment: one replica on each node.

    Args:
        workspace: whose model it serves.
        owner: the same as the API server has it.
        plan: what serves it.
        nodes: where pods may run. With fewer than planned there are fewer
            replicas, since another one would find no room.
        images: of the model servers of presets, by runtime.
        hub_endpoint: where it downloads models from; the public hub if empty.
        config: settings of that model server.
        surge: whether a new pod starts before an old one stops, which needs room
            for both. Without, an old one stops first.
    """
    if plan.server is None:
        template = custom_pod(
            workspace,
            _template(workspace),
            resources=plan.node_resources,
            nodes=nodes,
        )
        loading = CUSTOM_LOADING_SECONDS
    else:
        template = preset_pod(
            workspace,
            plan,
            plan.server,
            config=config,
            nodes=nodes,
            runtime_image=images[plan.server.runtime],
            hub_endpoint=hub_endpoint,
        )
        loading = loading_seconds(plan.server)
    more, fewer = (1, 0) if surge else (0, 1)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(workspace, owner),
        "spec": {
            "replicas": min(plan.nodes, len(nodes)),
            "selector": {"matchLabels": selector(workspace)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": more, "maxUnavailable": fewer},
            },
            **_settling(template),
            "progressDeadlineSeconds": loading + PULLING_SECONDS,
            "template": template,
        },
    }


def _settling(template: Mapping[str, Any]) -> dict[str, int]:
    """Return how long pods have to be ready until they count and others may stop."""
    containers = (template.get("spec") or {}).get("containers") or ()
    if all(container.get("readinessProbe") for container in containers):
        return {}
    return {"minReadySeconds": UNPROBED_SECONDS}


def _template(workspace: Workspace) -> dict[str, Any]:
    return (workspace.inference.template if workspace.inference else None) or {}
