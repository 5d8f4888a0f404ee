"""What a request may carry, held against the models of Azure's own SDKs."""

import re
from functools import cache
from typing import Any

import azure.mgmt.containerservice.models as aks_models
import azure.mgmt.containerservice.types as aks_types
from azure.core.exceptions import DeserializationError
from azure.mgmt.hybridcontainerservice.models import AgentPool as ArcAgentPool
from pydantic import ConfigDict, TypeAdapter, ValidationError

from tests.arm.refusals import RefusedError, invalid

_RESERVED = re.compile(
    r"^(agentpool|accelerator|kubernetes\.azure\.com/.*"
    r"|(.*[./])?kubernetes\.io/.*|(.*[./])?k8s\.io/.*)$"
)
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")
_TAINT = re.compile(r"^[^=:]+(=[^=:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$")
_TAG_CHARACTERS = 256


@cache
def _aks_pool() -> TypeAdapter[Any]:
    for shape in vars(aks_types).values():
        if isinstance(shape, type) and hasattr(shape, "__total__"):
            shape.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    adapter = TypeAdapter(aks_types.AgentPool)
    names = {**vars(aks_models), **vars(aks_types)}
    adapter.rebuild(raise_errors=True, _types_namespace=names)
    return adapter


def check_aks(name: str, body: Any) -> None:
    """Refuse a body that the SDK's AgentPool does not describe.

    Raises:
        RefusedError: a field is unknown or of another type, or a name is not allowed.
    """
    if not re.fullmatch("[a-z][a-z0-9]{0,11}", name):
        raise RefusedError(invalid("agentPoolName", f"{name!r}"))
    try:
        _aks_pool().validate_python(body)
    except ValidationError as error:
        raise RefusedError(invalid("agentPool", str(error))) from None
    properties = body.get("properties") or {}
    _check_common(properties)
    for key, value in (properties.get("tags") or {}).items():
        if len(value) > _TAG_CHARACTERS or re.search(r"[<>%&\\?/]", key):
            raise RefusedError(invalid("agentPoolProfile.tags", f"{key!r}"))


def check_arc(name: str, body: Any) -> None:
    """Refuse a body that the SDK's AgentPool does not describe.

    Raises:
        RefusedError: a field is unknown or of another type, or a name is not allowed.
    """
    if not re.fullmatch("[a-z][a-z0-9]{2,11}", name):
        raise RefusedError(invalid("agentPoolName", f"{name!r}"))
    try:
        understood = ArcAgentPool.from_dict(body).serialize(keep_readonly=True)
    except DeserializationError as error:
        raise RefusedError(invalid("agentPool", str(error))) from None
    if understood != body:
        raise RefusedError(invalid("agentPool", f"{body} is read as {understood}"))
    _check_common(body.get("properties") or {})


def _check_common(properties: dict[str, Any]) -> None:
    if not properties.get("vmSize"):
        raise RefusedError(invalid("agentPoolProfile.vmSize", "it is missing"))
    for key, value in (properties.get("nodeLabels") or {}).items():
        if _RESERVED.match(key):
            why = f"{key!r} is reserved for the system"
            raise RefusedError(invalid("agentPoolProfile.nodeLabels", why))
        if not _LABEL_VALUE.match(value):
            why = f"{value!r} is no value of a label"
            raise RefusedError(invalid("agentPoolProfile.nodeLabels", why))
    for taint in properties.get("nodeTaints") or ():
        if not _TAINT.match(taint):
            raise RefusedError(invalid("agentPoolProfile.nodeTaints", f"{taint!r}"))
