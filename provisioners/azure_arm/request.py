"""What is asked of Azure for a Machine: a pure function of it and the settings."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pykaito.api import labels
from pykaito.api.quantity import parse_quantity
from pykaito.api.v1alpha1.machine import CapacityType, Machine, Taint
from pykaito.provisioners.azure_arm.pool import CREATED_FORMAT, ownership
from pykaito.provisioners.azure_arm.settings import Kind, Target
from pykaito.provisioners.errors import InvalidRequestError
from pykaito.provisioners.naming import key_of, node_labels
from pykaito.provisioners.node_labels import KUBERNETES, check_labels, traits
from pykaito.provisioners.skus import Sku, UnknownSkuError, find_sku

_GIB = 2**30
#: What AKS lets a node's disk have, in GiB.
_DISK = range(30, 2049)

#: Labels that Azure sets on nodes, and whose.
_RESERVED: Mapping[str, str] = {**KUBERNETES, "kubernetes.azure.com": "Azure"}
_OWN = ("agentpool", "accelerator")
_OS_SKUS: Mapping[str, str] = {"ubuntu": "Ubuntu", "azurelinux": "AzureLinux"}
_GPU_SIZE = "standard_n"
_CLOUDS: Mapping[Kind, str] = {"aks": "azure", "arc": "arc"}


def check(machine: Machine, kind: Kind) -> Sequence[str]:
    """Hold a Machine against what agent pools can be.

    Returns:
        What is legal and likely not meant.

    Raises:
        InvalidRequestError: it asks for what cannot be.
    """
    size = machine.spec.instance_type
    if not size:
        raise InvalidRequestError(
            "spec.instanceType", "found none; an agent pool needs a VM size"
        )
    _node_labels(machine)
    if kind == "arc":
        _check_arc(machine)
    else:
        _zones(machine)
        _os_sku(machine, "")
        _disk(machine)
    return _check_size(size, kind)


def body(
    machine: Machine, target: Target, cluster: str, now: datetime
) -> dict[str, Any]:
    """Return the pool that a Machine asks for, as the JSON of its PUT.

    Args:
        machine: the Machine.
        target: the cluster, and what all its pools have.
        cluster: what tells this Kubernetes cluster from all others.
        now: the time, which the pool's label keeps.

    Raises:
        InvalidRequestError: it asks for what cannot be.
    """
    check(machine, target.kind)
    size = machine.spec.instance_type or ""
    gpu = size.lower().startswith(_GPU_SIZE)
    properties: dict[str, Any] = {
        "count": 1,
        "vmSize": size,
        "osType": "Linux",
        "nodeLabels": {
            **_node_labels(machine),
            labels.MACHINE_TYPE: "gpu" if gpu else "cpu",
            labels.CREATION_TIMESTAMP: now.strftime(CREATED_FORMAT),
        },
        "nodeTaints": [_taint(taint) for taint in machine.spec.taints],
    }
    tags = ownership(cluster, key_of(machine))
    if target.kind == "arc":
        return {"properties": properties, "tags": tags}
    properties |= {"type": "VirtualMachineScaleSets", "mode": "User", "tags": tags}
    optional = {
        "osSKU": _os_sku(machine, target.os_sku),
        "osDiskSizeGB": _disk(machine),
        "osDiskType": target.os_disk_type,
        "vnetSubnetID": target.subnet,
        "availabilityZones": _zones(machine),
    }
    properties |= {field: value for field, value in optional.items() if value}
    if machine.spec.capacity_type is CapacityType.SPOT:
        properties |= {
            "scaleSetPriority": "Spot",
            "scaleSetEvictionPolicy": "Delete",
            # Up to the price of a machine that is not spot.
            "spotMaxPrice": -1.0,
        }
    return {"properties": properties}


def _check_size(size: str, kind: Kind) -> Sequence[str]:
    try:
        sku: Sku = find_sku(size)
    except UnknownSkuError as error:
        if size.lower().startswith("standard_"):
            return (str(error),) if error.nearest else ()
        hint = f"; did you mean {error.nearest[0]}?" if error.nearest else ""
        raise InvalidRequestError(
            "spec.instanceType",
            f"found {size!r}; VM sizes of Azure begin with Standard_{hint}",
        ) from None
    if sku.cloud != _CLOUDS[kind]:
        raise InvalidRequestError(
            "spec.instanceType",
            f"found {size!r}, which is of {sku.cloud}; must be a VM size of "
            f"{'Azure' if kind == 'aks' else 'Azure Local'}",
        )
    if sku.retired:
        return (f"{sku.name} is being retired by Azure; few are left to be had",)
    return ()


def _check_arc(machine: Machine) -> None:
    """Refuse what AKS has and AKS Arc has not."""
    spec = machine.spec
    if spec.capacity_type is CapacityType.SPOT:
        raise InvalidRequestError(
            "spec.capacityType", "found spot; AKS Arc has only on-demand"
        )
    if spec.zones:
        found = ", ".join(spec.zones)
        raise InvalidRequestError("spec.zones", f"found {found}; AKS Arc has no zones")
    if spec.image_family == "ubuntu":
        raise InvalidRequestError(
            "spec.imageFamily", "found 'ubuntu'; AKS Arc has only azurelinux"
        )


def _node_labels(machine: Machine) -> dict[str, str]:
    following = {label: values for label, values in traits(machine).items() if values}
    check_labels(machine, following, _RESERVED)
    for label in _OWN:
        if label in machine.spec.labels:
            raise InvalidRequestError(
                "spec.labels",
                f"found {label!r}, which only Azure may set; leave it out",
            )
    # Azure sets those that follow by itself, and refuses them from anybody else.
    return {k: v for k, v in node_labels(machine).items() if k not in following}


def _taint(taint: Taint) -> str:
    value = f"={taint.value}" if taint.value else ""
    return f"{taint.key}{value}:{taint.effect}"


def _os_sku(machine: Machine, default: str) -> str:
    family = machine.spec.image_family
    if not family:
        return default
    if family not in _OS_SKUS:
        raise InvalidRequestError(
            "spec.imageFamily",
            f"found {family!r}; must be {' or '.join(sorted(_OS_SKUS))}",
        )
    return _OS_SKUS[family]


def _disk(machine: Machine) -> int | None:
    if machine.spec.storage is None:
        return None
    gib = max(math.ceil(parse_quantity(machine.spec.storage) / _GIB), _DISK.start)
    if gib not in _DISK:
        raise InvalidRequestError(
            "spec.storage", f"found {gib} GiB; AKS has at most {_DISK[-1]}"
        )
    return gib


def _zones(machine: Machine) -> list[str]:
    """Return the zones as AKS numbers them; nodes call them region-number."""
    numbers = [zone.rpartition("-")[2] for zone in machine.spec.zones]
    for zone, number in zip(machine.spec.zones, numbers, strict=True):
        if not re.fullmatch("[1-9]", number):
            raise InvalidRequestError(
                "spec.zones", f"found {zone!r}; must be such as 1 or westeurope-1"
            )
    return numbers
