"""Which Machines Karpenter can be asked for at all: pure functions."""

import difflib
from collections.abc import Mapping, Sequence

from pykaito.api.v1alpha1.machine import Machine
from pykaito.provisioners.errors import InvalidRequestError
from pykaito.provisioners.karpenter.manifests import asks_for_gpus, following
from pykaito.provisioners.karpenter.objects import GROUP
from pykaito.provisioners.karpenter.settings import Settings
from pykaito.provisioners.node_labels import KUBERNETES, check_labels
from pykaito.provisioners.skus import Cloud, skus

#: Kubelets may give these to their own nodes, or admins keep them from doing so.
_FREE = (
    "kubelet.kubernetes.io",
    "node.kubernetes.io",
    "node-restriction.kubernetes.io",
)
_TITLES: Mapping[str, str] = {"azure": "Azure", "aws": "AWS", "arc": "Azure Arc"}


def check_machine(machine: Machine, settings: Settings) -> Sequence[str]:
    """Hold a Machine against what Karpenter takes; see `Provisioner.check`.

    Raises:
        InvalidRequestError: names the field.
    """
    warnings = _check_instance_type(machine, settings.cloud)
    reserved = {**KUBERNETES, GROUP: "Karpenter", settings.group: "Karpenter"}
    check_labels(machine, following(machine), reserved, _FREE)
    return warnings


def _check_instance_type(machine: Machine, cloud: Cloud | None) -> Sequence[str]:
    name = machine.spec.instance_type
    if not name:
        raise InvalidRequestError(
            "spec.instanceType",
            "missing, and Karpenter has to be told one; set resource.instanceType",
        )
    if cloud is None:
        return ()
    home = _cloud_of(name)
    if home not in {cloud, None}:
        raise InvalidRequestError(
            "spec.instanceType",
            f"found {name!r}, which is a type of {_TITLES.get(home, home)}, and "
            f"Karpenter makes nodes on {_TITLES[cloud]}{_hint(name, cloud)}",
        )
    if not asks_for_gpus(machine) or name.lower() in skus():
        return ()
    hint = _hint(name, cloud)
    return (f"spec.instanceType: {name!r} is no type with GPUs that is known{hint}",)


def _cloud_of(name: str) -> str | None:
    """Return whose instance type it is, by the tables or by how it is written."""
    if sku := skus().get(name.lower()):
        return sku.cloud
    if name.lower().startswith(("standard_", "basic_")):
        return "azure"
    return "aws" if "." in name else None


def _hint(name: str, cloud: Cloud) -> str:
    """Name the nearest of a cloud's types that can be bought."""
    types = {k: sku.name for k, sku in skus().items() if _sold(k, cloud)}
    same = _of_the_same_gpus(name, cloud)
    near = same or [
        types[k] for k in difflib.get_close_matches(name.lower(), types, n=2)
    ]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _of_the_same_gpus(name: str, cloud: Cloud) -> list[str]:
    wanted = skus().get(name.lower())
    if wanted is None:
        return []
    return [
        sku.name
        for k, sku in skus().items()
        if _sold(k, cloud) and (sku.model, sku.count) == (wanted.model, wanted.count)
    ][:2]


def _sold(lower_name: str, cloud: Cloud) -> bool:
    sku = skus()[lower_name]
    return sku.cloud == cloud and not sku.retired
