"""The pod of a user's own template, kept as it was written."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.reconcilers.inference.manifests.identity import selector
from pykaito.reconcilers.inference.manifests.placement import (
    narrowed,
    spot_tolerations,
    tolerations,
)


def custom_pod(
    workspace: Workspace,
    template: Mapping[str, Any],
    *,
    resources: Iterable[str],
    nodes: Sequence[str],
) -> dict[str, Any]:
    """Return the template with what binds its pods to Workspace and nodes.

    That is a label, the nodes' names in its affinity, and tolerations of what GPU
    nodes are tainted with; nothing else of it is touched.
    """
    metadata = template.get("metadata") or {}
    spec = template.get("spec") or {}
    written = list(spec.get("tolerations") or ())
    wanted = [*tolerations(resources), *spot_tolerations(workspace)]
    missing = [toleration for toleration in wanted if toleration not in written]
    return {
        **template,
        "metadata": {
            **metadata,
            "labels": {**(metadata.get("labels") or {}), **selector(workspace)},
        },
        "spec": {
            **spec,
            "affinity": narrowed(spec.get("affinity") or {}, nodes),
            "tolerations": [*written, *missing],
        },
    }
