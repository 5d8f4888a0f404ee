"""No Workspace of the corpus gets past the webhook, nor past the reconcilers alone."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykaito.api import labels
from pykaito.api.validate import violations
from pykaito.operator.admission import AdmissionRequest, Operation
from pykaito.operator.cache import Cache
from pykaito.operator.objects import CONFIG_MAPS, DEPLOYMENTS, NODES, SERVICES
from pykaito.reconcilers.admission import WorkspaceAdmission
from pykaito.reconcilers.configs import ConfigMaps
from pykaito.reconcilers.lookups import Lookups, NoHub
from pykaito.reconcilers.provisioning import Provisioning, ProvisioningSettings
from pykaito.reconcilers.resources import MACHINES, WORKSPACES
from tests.corpus.cases import Case, Object, invalid_workspaces
from tests.corpus.mutations import mutations
from tests.unit.operator.virtual_time import VirtualClock, run_virtual
from tests.unit.reconcilers.cluster_api import ClusterApi
from tests.unit.reconcilers.workspaces import node
from tests.unit.reconcilers.world import World

pytestmark = pytest.mark.virtual_time

CASES = invalid_workspaces()
NODE = node(
    "gpu-0",
    labels={
        "apps": "falcon-7b",
        labels.INSTANCE_TYPE: "Standard_NC24ads_A100_v4",
        "nvidia.com/gpu.count": "8",
        "nvidia.com/gpu.memory": "81251",
    },
    gpus=8,
)


def namespace_of(case: Case) -> str:
    return f"case-{CASES.index(case)}"


def placed(obj: Object, namespace: str) -> Object:
    """Return the object as an API server without our CRD's rules would store it."""
    metadata = {"namespace": namespace, "uid": namespace, "generation": 1}
    return {
        **obj,
        "metadata": {**obj["metadata"], **metadata},
        "status": {"observedGeneration": -1},
    }


async def fill(api: ClusterApi) -> None:
    """Put a node that could serve, and the ConfigMaps of the cases."""
    await api.create(NODES, NODE)
    for case in CASES:
        for config in case.beside:
            metadata = {**config["metadata"], "namespace": namespace_of(case)}
            await api.create(CONFIG_MAPS, {**config, "metadata": metadata})


@pytest.fixture
async def webhook() -> AsyncIterator[WorkspaceAdmission]:
    api = ClusterApi()
    await fill(api)
    cache = Cache(api, VirtualClock(), random.Random(1))  # noqa: S311 - jitter
    lookups = Lookups(
        ConfigMaps(
            api, cache.informer(CONFIG_MAPS, metadata_only=True), "pykaito-system"
        ),
        NoHub(),
        cache.informer(DEPLOYMENTS, label_selector=labels.WORKSPACE),
        default_runtime="transformers",
    )
    webhook = WorkspaceAdmission(
        cache.informer(NODES), lookups, Provisioning(ProvisioningSettings(), {})
    )
    running = asyncio.create_task(cache.run())
    await cache.wait_synced(10)
    yield webhook
    running.cancel()
    await asyncio.wait([running])


async def test_the_webhook_refuses_each_with_path_and_remedy(
    webhook: WorkspaceAdmission,
) -> None:
    missed = []
    for case in CASES:
        obj = placed(case.obj, namespace_of(case))
        request = AdmissionRequest(
            uid="u",
            operation=Operation.CREATE,
            group="kaito.sh",
            kind="Workspace",
            name=str(obj["metadata"].get("name", "")),
            namespace=obj["metadata"]["namespace"],
            username="a",
            object=obj,
            old_object=None,
        )
        response = await webhook(request, seconds=4)
        if not any(
            cause.field == case.path and case.message in cause.message
            for cause in response.causes
        ):
            missed.append((case.name, response))
    assert missed == []


async def test_without_webhook_and_rules_each_is_stopped_and_told_the_same() -> None:
    world = World()
    await fill(world.api)
    for case in CASES:
        await world.api.create(WORKSPACES, placed(case.obj, namespace_of(case)))
    async with world.operator():
        await asyncio.sleep(60)
        missed = []
        for found in world.api.stored(WORKSPACES):
            case = CASES[int(found["metadata"]["namespace"].removeprefix("case-"))]
            conditions = {c["type"]: c for c in found["status"]["conditions"]}
            stalled = conditions.get("Stalled", {}).get("message", "")
            if case.path not in stalled or case.message not in stalled:
                missed.append((case.name, conditions))
        assert missed == []
    assert len(world.api.stored(WORKSPACES)) == len(CASES)
    for children in (MACHINES, DEPLOYMENTS, SERVICES):
        assert world.api.stored(children) == []


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs=st.lists(mutations(), min_size=30, max_size=30))
def test_no_workspace_makes_a_reconciler_fail(
    pairs: list[tuple[Object, Object]],
) -> None:
    objects = [obj for _, obj in pairs]

    async def reconcile() -> None:
        world = World()
        await world.api.create(NODES, NODE)
        for number, obj in enumerate(objects):
            await world.api.create(WORKSPACES, placed(obj, f"case-{number}"))
        async with world.operator():
            await asyncio.sleep(60)
        for found in world.api.stored(WORKSPACES):
            obj = objects[int(found["metadata"]["namespace"].removeprefix("case-"))]
            assert found["status"]["observedGeneration"] == 1
            stalled = [
                c for c in found["status"]["conditions"] if c["type"] == "Stalled"
            ]
            for violation in violations(obj)[:1]:
                assert str(violation) in stalled[0]["message"]

    run_virtual(reconcile())
