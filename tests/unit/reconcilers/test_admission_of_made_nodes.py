"""What the webhook says of nodes that are to be made: refused, or explained."""

import random
from typing import Any

import pytest

from pykaito.api import labels
from pykaito.operator.admission import AdmissionResponse
from pykaito.operator.cache import Cache
from pykaito.operator.expectations import WrittenVersions
from pykaito.operator.objects import CONFIG_MAPS, DEPLOYMENTS, NODES
from pykaito.operator.reconcile import Request
from pykaito.reconcilers.admission import WorkspaceAdmission
from pykaito.reconcilers.configs import ConfigMaps
from pykaito.reconcilers.lookups import Lookups, NoHub
from pykaito.reconcilers.provisioning import Provisioning, ProvisioningSettings
from tests.unit.operator.virtual_time import VirtualClock
from tests.unit.reconcilers.cluster_api import ClusterApi
from tests.unit.reconcilers.test_admission import request_of
from tests.unit.reconcilers.workspaces import raw_workspace

pytestmark = pytest.mark.virtual_time

SPOT = {labels.CAPACITY_TYPE: "spot"}
AKS = "azure_arm"
KARPENTER = "karpenter"


@pytest.fixture
async def webhook() -> WorkspaceAdmission:
    """The handler with every provisioner there is, on a cluster without nodes."""
    api, clock = ClusterApi(), VirtualClock()
    cache = Cache(api, clock, random.Random(1))  # noqa: S311 - jitter
    provisioning = Provisioning.install(
        ProvisioningSettings(),
        client=api,
        cache=cache,
        clock=clock,
        written=WrittenVersions[Request](clock),
    )
    configs = ConfigMaps(
        api, cache.informer(CONFIG_MAPS, metadata_only=True), "pykaito-system"
    )
    deployments = cache.informer(DEPLOYMENTS, label_selector=labels.WORKSPACE)
    return WorkspaceAdmission(
        cache.informer(NODES),
        Lookups(configs, NoHub(), deployments, default_runtime="transformers"),
        provisioning,
    )


async def ask(
    webhook: WorkspaceAdmission,
    provisioner: str,
    annotations: dict[str, str] | None = None,
    **resource: Any,
) -> AdmissionResponse:
    found = {labels.PROVISIONER: provisioner, **(annotations or {})}
    resource = {"instanceType": "Standard_NC24ads_A100_v4"} | resource
    obj = raw_workspace(metadata={"annotations": found}, resource=resource)
    return await webhook(request_of(obj, None), seconds=4.0)


@pytest.mark.parametrize("provisioner", [KARPENTER, "karpenter_nodepool", AKS])
async def test_what_can_be_made_is_admitted_and_no_node_is_missed(
    webhook: WorkspaceAdmission, provisioner: str
) -> None:
    response = await ask(webhook, provisioner, SPOT | {labels.ZONES: "1,2"})
    assert response == AdmissionResponse(allowed=True)


REFUSED = {
    "misspelt type": (
        KARPENTER,
        {},
        {"instanceType": "Standard_NC24ads_A100_v44"},
        "resource.instanceType",
        "Standard_NC24ads_A100_v4",
    ),
    "type without GPUs": (
        AKS,
        {},
        {"instanceType": "Standard_D4s_v5"},
        "resource.instanceType",
        "has no GPUs",
    ),
    "type of another cloud": (
        AKS,
        {},
        {"instanceType": "g5.xlarge"},
        "resource.instanceType",
        "must be a VM size of Azure",
    ),
    "type of another cloud by Karpenter": (
        KARPENTER,
        {},
        {"instanceType": "p4d.24xlarge"},
        "resource.instanceType",
        "did you mean Standard_ND96asr_A100_v4",
    ),
    "zone that is none": (
        AKS,
        {labels.ZONES: "1, ?"},
        {},
        f"metadata.annotations[{labels.ZONES}]",
        "write zones as a,b",
    ),
    "label of Kubernetes": (
        KARPENTER,
        {},
        {"labelSelector": {"matchLabels": {"kubernetes.io/team": "a"}}},
        "resource.labelSelector",
        "kubernetes.io/team",
    ),
    "label of Azure": (
        AKS,
        {},
        {"labelSelector": {"matchLabels": {"kubernetes.azure.com/mode": "a"}}},
        "resource.labelSelector",
        "kubernetes.azure.com/mode",
    ),
    "way to pay that there is not": (
        AKS,
        {labels.CAPACITY_TYPE: "sport"},
        {},
        f"metadata.annotations[{labels.CAPACITY_TYPE}]",
        "set it to on-demand or spot",
    ),
    "provisioner that is not installed": (
        "karpentr",
        {},
        {},
        f"metadata.annotations[{labels.PROVISIONER}]",
        "did you mean 'karpenter",
    ),
    "no type to make": (
        KARPENTER,
        {},
        {"instanceType": ""},
        "resource.instanceType",
        "found none",
    ),
    "node class that is no name": (
        KARPENTER,
        {labels.NODE_CLASS_NAME: "Fast Ones"},
        {},
        f"metadata.annotations[{labels.NODE_CLASS_NAME}]",
        "the name of a node class",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_made_is_refused_by_its_field_with_what_would_be_right(
    webhook: WorkspaceAdmission, case: str
) -> None:
    provisioner, annotations, resource, field, remedy = REFUSED[case]
    response = await ask(webhook, provisioner, annotations, **resource)
    assert not response.allowed
    (cause,) = response.causes
    assert cause.field == field
    assert remedy in cause.message
