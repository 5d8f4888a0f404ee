"""Which pods are of a Deployment's template as it is now: pure.

While a template takes the place of another, pods of both are there. What the old ones
show says nothing of the new spec, and least of all that waiting is in vain.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pykaito.operator.objects import Object
from pykaito.reconcilers.inference.diagnosis.pod_view import KINDS

#: What decides how a container runs, beside its resources.
_DECIDE = ("image", "command", "args", "env", "envFrom", "imagePullPolicy")


def current_pods(deployed: Object, pods: Sequence[Object]) -> Sequence[Object]:
    """Return the pods that are of the Deployment's template as it is now.

    None before the Deployment's controller has seen the template, or made a pod of
    it. Where something changes every pod on its way, so that none is like the
    template, all are taken for it.
    """
    status = deployed.get("status") or {}
    observed = status.get("observedGeneration") == deployed["metadata"]["generation"]
    if not observed or not status.get("updatedReplicas"):
        return ()
    template = deployed["spec"]["template"]
    return [pod for pod in pods if _is_like(pod, template)] or pods


def _is_like(pod: Object, template: Mapping[str, Any]) -> bool:
    wanted, found = (
        (obj.get("metadata") or {}).get("annotations") or {} for obj in (template, pod)
    )
    return (
        wanted.items() <= found.items()
        and _volumes(template).items() <= _volumes(pod).items()
        and all(
            _containers(template, kind).items() <= _containers(pod, kind).items()
            and _resources(template, kind).items() <= _resources(pod, kind).items()
            for kind in KINDS
        )
    )


def _volumes(obj: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the volumes by their names; a pod has more, such as one of a token."""
    spec = obj.get("spec") or {}
    return {volume["name"]: volume for volume in spec.get("volumes") or ()}


def _containers(obj: Mapping[str, Any], kind: str) -> Mapping[str, Mapping[str, Any]]:
    """Return what decides how each container runs, by its name."""
    return {
        container["name"]: {field: container.get(field) for field in _DECIDE}
        for container in (obj.get("spec") or {}).get(kind) or ()
    }


def _resources(
    obj: Mapping[str, Any], kind: str
) -> Mapping[tuple[str, str, str], object]:
    """Return each amount by its container; a LimitRange gives a pod more of them."""
    return {
        (container["name"], bound, resource): amount
        for container in (obj.get("spec") or {}).get(kind) or ()
        for bound, amounts in (container.get("resources") or {}).items()
        if bound in {"requests", "limits"}
        for resource, amount in (amounts or {}).items()
    }
