"""What the webhook says of Workspaces, on a cluster in memory; virtual time."""

import asyncio
import contextlib
import copy
import random
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykaito.api import labels
from pykaito.api.v1beta1 import inference as api
from pykaito.operator.admission import (
    AdmissionRequest,
    AdmissionResponse,
    parse_review,
    render_review,
)
from pykaito.operator.cache import Cache
from pykaito.operator.objects import CONFIG_MAPS, DEPLOYMENTS, NODES
from pykaito.reconcilers.admission import NOT_LOOKED_UP, WorkspaceAdmission, cause_of
from pykaito.reconcilers.checking import checked
from pykaito.reconcilers.configs import ConfigMaps
from pykaito.reconcilers.lookups import Lookups
from pykaito.reconcilers.provisioning import Provisioning, ProvisioningSettings
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.plan import PlanError, PlanReason
from tests.unit.operator.virtual_time import VirtualClock, run_virtual
from tests.unit.reconcilers.cluster_api import ClusterApi
from tests.unit.reconcilers.workspaces import node, raw_workspace

pytestmark = pytest.mark.virtual_time

LABELS = {"apps": "falcon-7b", labels.INSTANCE_TYPE: "Standard_NC12s_v3"}
UNKNOWN = {"inference": {"preset": {"name": "falcon-7"}}}
CONFIG = {
    "inference": {"preset": {"name": "falcon-7b"}, "config": "settings"},
}


class Hub:
    """A hub that is told what to answer."""

    def __init__(self) -> None:
        self.error: PlanError | None = None
        self.seconds = 0.0

    async def find(self, spec: api.Preset, revision: str, **_: Any) -> Preset | None:
        del revision
        await asyncio.sleep(self.seconds)
        if self.error and "/" in spec.name:
            raise self.error
        return None


class Webhook:
    """The handler on a cluster of its own."""

    def __init__(self) -> None:
        self.api = ClusterApi()
        self.hub = Hub()
        cache = Cache(self.api, VirtualClock(), random.Random(1))  # noqa: S311 - jitter
        configs = cache.informer(CONFIG_MAPS, metadata_only=True)
        self.handler = WorkspaceAdmission(
            cache.informer(NODES),
            Lookups(
                ConfigMaps(self.api, configs, "pykaito-system"),
                self.hub,
                cache.informer(DEPLOYMENTS, label_selector=labels.WORKSPACE),
                default_runtime="transformers",
            ),
            Provisioning(ProvisioningSettings(), {}),
        )
        self._cache = cache

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Webhook"]:
        running = asyncio.create_task(self._cache.run())
        await self._cache.wait_synced(10)
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def add_node(self, **options: Any) -> None:
        await self.api.create(NODES, node("gpu-0", **({"labels": LABELS} | options)))
        await asyncio.sleep(1)

    async def ask(
        self, obj: Any, old: Any = None, *, seconds: float = 4.0
    ) -> AdmissionResponse:
        return await self.handler(request_of(obj, old), seconds=seconds)


def request_of(obj: Any, old: Any) -> AdmissionRequest:
    kind = {"group": "kaito.sh", "version": "v1beta1", "kind": "Workspace"}
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "kind": kind,
            "operation": "CREATE" if old is None else "UPDATE",
            "name": "workspace-falcon-7b",
            "namespace": "default",
            "object": obj,
            "oldObject": old,
        },
    }
    return parse_review(orjson.dumps(review))


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    async with Webhook().running() as webhook:
        yield webhook


def told(response: AdmissionResponse) -> str:
    assert response.allowed, response.message
    return "\n".join(response.warnings)


async def test_a_workspace_that_can_be_served_is_admitted_in_silence(
    webhook: Webhook,
) -> None:
    await webhook.add_node()
    assert await webhook.ask(raw_workspace()) == AdmissionResponse(allowed=True)


@pytest.mark.parametrize("version", ["kaito.sh/v1alpha1", "kaito.sh/v1beta1"])
async def test_a_misspelt_model_is_refused_with_path_remedy_and_page(
    webhook: Webhook, version: str
) -> None:
    response = await webhook.ask(raw_workspace(**UNKNOWN, apiVersion=version))
    assert not response.allowed
    assert (response.code, response.reason) == (422, "Invalid")
    (cause,) = response.causes
    assert cause.field == "inference.preset.name"
    assert "falcon-7b" in cause.message
    assert cause.message.endswith("docs/troubleshooting/PresetNotFound.md)")
    assert response.message == (
        'Workspace.kaito.sh "workspace-falcon-7b" is invalid: '
        f"inference.preset.name: {cause.message}"
    )


async def test_an_instance_type_that_nobody_sells_is_refused(webhook: Webhook) -> None:
    obj = raw_workspace(resource={"instanceType": "Standard_NC12s_v33"})
    response = await webhook.ask(obj)
    assert [cause.field for cause in response.causes] == ["resource.instanceType"]
    assert "Standard_NC12s_v3" in response.causes[0].message


async def test_all_faults_are_told_at_once(webhook: Webhook) -> None:
    obj = raw_workspace(**UNKNOWN, resource={"instanceType": "Standard_NC12s_v33"})
    response = await webhook.ask(obj)
    assert {cause.field for cause in response.causes} == {
        "resource.instanceType",
        "inference.preset.name",
    }


async def test_a_model_too_large_for_the_instance_type_is_refused(
    webhook: Webhook,
) -> None:
    obj = raw_workspace(inference={"preset": {"name": "falcon-40b"}})
    response = await webhook.ask(obj)
    assert "ModelDoesNotFit" in response.causes[0].message


async def test_a_model_too_large_for_the_nodes_of_the_moment_is_a_warning(
    webhook: Webhook,
) -> None:
    gpu = {"nvidia.com/gpu.count": "1", "nvidia.com/gpu.memory": "16384"}
    await webhook.add_node(labels={"apps": "falcon-7b", **gpu})
    obj = raw_workspace(inference={"preset": {"name": "falcon-40b"}})
    del obj["resource"]["instanceType"]
    assert "ModelDoesNotFit" in told(await webhook.ask(obj))


async def test_named_nodes_may_be_larger_than_the_instance_type(
    webhook: Webhook,
) -> None:
    obj = raw_workspace(
        inference={"preset": {"name": "falcon-40b"}},
        resource={"preferredNodes": ["to-come"]},
    )
    assert "ModelDoesNotFit" in told(await webhook.ask(obj))


async def test_a_node_that_is_not_there_yet_is_a_warning(webhook: Webhook) -> None:
    warnings = told(await webhook.ask(raw_workspace()))
    assert "0 of 1 nodes qualify at the moment" in warnings
    assert "apps=falcon-7b" in warnings


async def test_what_this_release_lacks_is_a_warning(webhook: Webhook) -> None:
    tuning = {
        "preset": {"name": "falcon-7b"},
        "method": "lora",
        "input": {"image": "reg/in:1"},
        "output": {"image": "reg/out:1", "imagePushSecret": "s"},
    }
    obj = raw_workspace(tuning=tuning)
    del obj["inference"]
    assert "TuningNotSupported" in told(await webhook.ask(obj))


async def test_a_config_that_is_not_there_yet_is_a_warning(webhook: Webhook) -> None:
    warnings = told(await webhook.ask(raw_workspace(**CONFIG)))
    assert "there is no ConfigMap settings" in warnings


async def test_a_config_that_cannot_be_read_is_refused(webhook: Webhook) -> None:
    metadata = {"name": "settings", "namespace": "default"}
    data = {"inference_config.yaml": "vllm: [1"}
    await webhook.api.create(CONFIG_MAPS, {"metadata": metadata, "data": data})
    await asyncio.sleep(1)
    response = await webhook.ask(raw_workspace(**CONFIG))
    assert [cause.field for cause in response.causes] == ["inference.config"]


async def test_a_fault_is_seen_though_a_config_is_missing(webhook: Webhook) -> None:
    inference = {"preset": {"name": "falcon-40b"}, "config": "settings"}
    response = await webhook.ask(raw_workspace(inference=inference))
    assert "ModelDoesNotFit" in response.causes[0].message
    assert "there is no ConfigMap settings" in response.warnings[0]


async def test_a_hub_that_does_not_answer_is_a_warning(webhook: Webhook) -> None:
    webhook.hub.error = PlanError(
        PlanReason.HUB_UNREACHABLE, "inference.preset.name: away", terminal=False
    )
    obj = raw_workspace(inference={"preset": {"name": "org/model"}})
    assert "HubUnreachable" in told(await webhook.ask(obj))


async def test_a_model_that_the_hub_does_not_have_is_refused(webhook: Webhook) -> None:
    webhook.hub.error = PlanError(
        PlanReason.PRESET_NOT_FOUND, "inference.preset.name: no such model"
    )
    obj = raw_workspace(inference={"preset": {"name": "org/model"}})
    response = await webhook.ask(obj)
    assert response.causes[0].field == "inference.preset.name"


async def test_a_slow_hub_does_not_hold_an_apply_up(webhook: Webhook) -> None:
    webhook.hub.seconds = 60
    obj = raw_workspace(inference={"preset": {"name": "org/model"}})
    began = asyncio.get_running_loop().time()
    assert NOT_LOOKED_UP in told(await webhook.ask(obj))
    assert asyncio.get_running_loop().time() - began <= 3


async def test_a_change_of_metadata_passes_whatever_the_spec(webhook: Webhook) -> None:
    old = raw_workspace(**UNKNOWN)
    new = copy.deepcopy(old)
    new["metadata"] |= {"finalizers": [], "labels": {"a": "b"}}
    new["metadata"]["annotations"] = {"argocd.argoproj.io/sync-wave": "1"}
    assert await webhook.ask(new, old) == AdmissionResponse(allowed=True)


async def test_an_annotation_of_ours_is_part_of_the_spec(webhook: Webhook) -> None:
    annotations = {labels.PERFORMANCE_MODE: "ludicrous"}
    new = raw_workspace(metadata={"annotations": annotations})
    response = await webhook.ask(new, raw_workspace())
    assert [cause.field for cause in response.causes] == [
        f"metadata.annotations[{labels.PERFORMANCE_MODE}]"
    ]


async def test_nothing_keeps_an_object_from_being_deleted(webhook: Webhook) -> None:
    new = raw_workspace(
        **UNKNOWN, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}
    )
    assert (await webhook.ask(new, raw_workspace())).allowed


async def test_a_change_that_leaves_a_fault_as_it_was_is_warned_of(
    webhook: Webhook,
) -> None:
    old = raw_workspace(**UNKNOWN)
    new = raw_workspace(**UNKNOWN, resource={"count": 2})
    assert "PresetNotFound" in told(await webhook.ask(new, old))


async def test_a_change_that_brings_another_fault_is_refused(webhook: Webhook) -> None:
    old = raw_workspace(**UNKNOWN)
    new = raw_workspace(**UNKNOWN, resource={"instanceType": "Standard_X"})
    assert not (await webhook.ask(new, old)).allowed


async def test_the_end_of_a_fault_is_admitted(webhook: Webhook) -> None:
    await webhook.add_node()
    wrong = {"annotations": {labels.PERFORMANCE_MODE: "ludicrous"}}
    old = raw_workspace(metadata=wrong)
    assert (await webhook.ask(raw_workspace(), old)).allowed


async def test_a_rule_that_an_older_crd_lacks_is_held(webhook: Webhook) -> None:
    obj = raw_workspace()
    del obj["inference"]
    response = await webhook.ask(obj)
    assert "exactly one of inference and tuning" in response.causes[0].message


async def test_a_fault_that_no_api_server_stores_is_told_all_the_same(
    webhook: Webhook,
) -> None:
    old = raw_workspace() | {"resource": None}
    new = old | {"tuning": None}
    assert "resource: " in told(await webhook.ask(new, old))


async def test_a_deletion_is_none_of_its_business(webhook: Webhook) -> None:
    response = await webhook.ask(None, raw_workspace(**UNKNOWN))
    assert response == AdmissionResponse(allowed=True)


def test_a_message_without_a_path_is_kept_whole() -> None:
    assert cause_of("no path here: at all").field == ""
    assert cause_of("metadata.annotations[kaito.sh/runtime]: x").message == "x"


def test_the_reconcilers_say_the_sentence_of_the_webhook() -> None:
    broken = raw_workspace()
    del broken["inference"]
    with pytest.raises(PlanError, match="exactly one of inference") as caught:
        checked(broken, ())
    assert caught.value.reason is PlanReason.SPEC_INVALID
    with pytest.raises(PlanError, match=r"^resource\.instanceType: ") as caught:
        checked(raw_workspace(resource={"instanceType": "Standard_X"}), ())
    assert caught.value.reason is PlanReason.INSTANCE_TYPE_UNKNOWN


def test_an_instance_type_that_a_node_carries_is_known() -> None:
    own = node("a", labels={labels.INSTANCE_TYPE: "my-server"})
    workspace, warnings = checked(
        raw_workspace(resource={"instanceType": "my-server"}), [own]
    )
    assert (workspace.resource.instance_type, warnings) == ("my-server", ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "preset", "image", "count", "labels", "annotations", "x"]
            ),
            inner,
        )
    ),
    max_leaves=10,
)
PARTS = st.dictionaries(
    st.sampled_from(
        ["resource", "inference", "tuning", "status", "kind", "apiVersion"]
    ),
    JSON,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(new=PARTS, old=st.none() | PARTS)
def test_whatever_is_asked_is_answered(new: Any, old: Any) -> None:
    """Metadata is of its shape always: the API server sees to that."""
    old = None if old is None else raw_workspace() | old
    request = request_of(raw_workspace() | new, old)

    async def ask() -> AdmissionResponse:
        async with Webhook().running() as webhook:
            return await webhook.handler(request, seconds=4)

    body = orjson.loads(render_review(request, run_virtual(ask())))
    assert body["response"]["uid"] == "u"
    assert body["response"]["allowed"] in {True, False}
