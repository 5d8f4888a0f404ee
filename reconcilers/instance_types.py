"""Whether an instance type can give a Workspace the nodes it asks for.

Prepared nodes may be of any cloud and carry any instance type as a label: where
they are named, or there already, the tables need not know theirs. A node that has
to be provisioned must be of a type that a cloud sells, so that a misspelt one is
told at once and not waited for.
"""

import re
from collections.abc import Collection

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.provisioners.skus import UnknownSkuError, find_sku
from pykaito.runtime.presets.annotations import accelerator
from pykaito.runtime.presets.plan import PlanError, PlanReason

FIELD = "resource.instanceType"

#: Families without accelerators: Azure's but N, and AWS's that name a letter of
#: general use. The tables list types with accelerators alone.
_WITHOUT = re.compile(
    r"(standard|basic)_[a-mo-z]+[0-9].*|(a1|[cdhimrtxz][0-9]+[a-z0-9]*(-[a-z0-9]+)?|"
    r"u-?[0-9a-z-]+|hpc[0-9]+[a-z]*|mac[0-9a-z-]*)[.][a-z0-9-]+"
)


def check_instance_type(
    workspace: Workspace, known_types: Collection[str] = ()
) -> tuple[str, ...]:
    """Check the instance type; return what is legal and likely not meant.

    Args:
        workspace: its spec and annotations.
        known_types: what nodes that are there carry as instance type.

    Raises:
        PlanError: no node of the type can be had, or none that serves a preset.
    """
    wanted = workspace.resource.instance_type
    if not wanted or wanted in known_types:
        return ()
    try:
        problem = _without_gpus(workspace, wanted)
        reason = PlanReason.INSTANCE_TYPE_UNSUITABLE
    except UnknownSkuError as error:
        problem = f"{FIELD}: {error}"
        reason = PlanReason.INSTANCE_TYPE_UNKNOWN
    if not problem:
        return ()
    if workspace.resource.preferred_nodes:
        return (f"{problem}; only the nodes of resource.preferredNodes are used",)
    if labels.BYPASS_RESOURCE_CHECKS in workspace.metadata.annotations:
        return (
            f"{problem}; as {labels.BYPASS_RESOURCE_CHECKS} asks, it is waited for",
        )
    raise PlanError(
        reason,
        f"{problem}; name another, or prepared nodes in resource.preferredNodes",
    )


def _without_gpus(workspace: Workspace, wanted: str) -> str:
    """Say why nodes of the type serve no preset; nothing where they do.

    Raises:
        UnknownSkuError: no cloud is known to sell it.
    """
    of_gpus = (
        workspace.inference is None or workspace.inference.preset is not None
    ) and accelerator(workspace) == "gpu"
    if _WITHOUT.fullmatch(wanted.lower()):
        problem = f"{FIELD}: {wanted!r} has no GPUs, which a preset needs"
        return problem if of_gpus else ""
    sku = find_sku(wanted)
    if of_gpus and sku.gpu.vendor != "nvidia":
        return (
            f"{FIELD}: {wanted!r} has {sku.model} accelerators, which no runtime of "
            "this release computes on"
        )
    return ""
