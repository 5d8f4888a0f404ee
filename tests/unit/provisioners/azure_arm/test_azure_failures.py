"""What Azure refuses becomes the Machine's condition, in Azure's own words."""

import json
import logging
from typing import Any

import pytest

from pykaito.operator.objects import EVENTS
from pykaito.reconcilers.resources import MACHINES
from tests.arm import refusals
from tests.arm.emulator import SIGNATURE
from tests.arm.faults import Cut, Effect, Ends, Refuse
from tests.arm.refusals import Refusal
from tests.unit.provisioners.azure_arm.azure_world import POOL, AzureWorld

pytestmark = pytest.mark.virtual_time

SOLD_NOWHERE = Refusal(
    400,
    "BadRequest",
    "The VM size of AgentPoolProfile:x is not allowed in your subscription in location "
    "'westus'. For more details, please visit https://aka.ms/cpu-quota",
    bare=True,
)
CORES = Refusal(
    409,
    "OperationNotAllowed",
    "Operation could not be completed as it results in exceeding approved Cores quota",
)
POLICY = Refusal(403, "RequestDisallowedByPolicy", "A policy forbids it.")
NO_GROUP = Refusal(404, "ResourceGroupNotFound", "The group could not be found.")
ODD = Refusal(418, "Teapot", "It is a teapot.")
BAD = refusals.invalid("agentPoolProfile.vnetSubnetID", "there is no such subnet")


@pytest.mark.parametrize(
    ("effect", "reason", "said"),
    [
        (Refuse(refusals.quota_exceeded()), "CloudQuotaExceeded", "Insufficient vcpu"),
        (Refuse(CORES), "CloudQuotaExceeded", "exceeding approved Cores quota"),
        (
            Refuse(refusals.sku_not_available()),
            "InstanceTypeNotAvailable",
            "westeurope",
        ),
        (
            Refuse(refusals.sku_not_available("NotAvailableForSubscription")),
            "InstanceTypeNotAvailable",
            "NotAvailableForSubscription",
        ),
        (Refuse(SOLD_NOWHERE), "InstanceTypeNotAvailable", "not allowed in your"),
        (Refuse(refusals.forbidden()), "CloudUnauthorized", "agentPools/write"),
        (Refuse(POLICY), "CloudUnauthorized", "A policy forbids it"),
        (Refuse(NO_GROUP), "TargetNotFound", "group could not be found"),
        (Refuse(BAD), "MachineInvalid", "no such subnet"),
        (Refuse(ODD), "LaunchFailed", "Teapot: It is a teapot"),
        (Refuse(refusals.throttled(60)), "CloudThrottled", "too many requests"),
        (Refuse(refusals.broken(503)), "ProvisionerUnreachable", "ServerUnavailable"),
        (Cut(after=False), "ProvisionerUnreachable", "no answer"),
        (
            Refuse(refusals.in_progress("a - Creating")),
            "OperationInProgress",
            "Creating",
        ),
    ],
)
async def test_a_create_that_is_refused_says_why(
    world: AzureWorld, effect: Effect, reason: str, said: str
) -> None:
    world.script.add("put", effect, times=20)
    async with world.operator():
        await world.add_machine()
        told = await world.until_reason(reason)
    assert said in told["message"]
    assert POOL in told["message"]
    assert world.cloud.pools == {}
    assert world.status()["failures"] >= 1


@pytest.mark.parametrize(
    ("failure", "reason", "said"),
    [
        (refusals.allocation_failed(), "InsufficientCapacity", "not enough capacity"),
        (
            refusals.overconstrained().within("ResourceOperationFailure"),
            "InsufficientCapacity",
            "OverconstrainedZonalAllocationRequest",
        ),
        (
            refusals.quota_exceeded("QuotaExceeded").within(
                "InvalidTemplateDeployment"
            ),
            "CloudQuotaExceeded",
            "Insufficient vcpu",
        ),
        (
            refusals.sku_not_available().within("ReconcileVMSSAgentPoolFailed"),
            "InstanceTypeNotAvailable",
            "westeurope",
        ),
        (refusals.broken(), "LaunchFailed", "The server failed"),
    ],
)
async def test_a_create_that_ends_failed_is_given_back_and_says_why(
    world: AzureWorld, failure: Refusal, reason: str, said: str
) -> None:
    world.script.add("put", Ends(failure))
    async with world.operator():
        await world.add_machine()
        await world.until(lambda: world.status().get("failures") == 1)
        told = await world.until_reason(reason)
        assert said in told["message"]
        await world.until_reason("Ready", within=1800)
    assert world.cloud.births == {POOL: 2}
    assert list(world.cloud.pools) == [POOL]


async def test_a_create_that_vanishes_without_a_word_is_asked_for_again(
    world: AzureWorld,
) -> None:
    failure = refusals.quota_exceeded()
    world.script.add("put", Ends(failure, vanishes=True))
    async with world.operator():
        await world.add_machine()
        await world.until(lambda: world.status().get("failures") == 1)
        await world.until_reason("Ready", within=1800)
    assert world.cloud.births == {POOL: 2}


async def test_a_create_that_ends_failed_on_azure_local_says_why(
    arc_world: AzureWorld,
) -> None:
    world = arc_world
    world.script.add("put", Ends(refusals.allocation_failed()))
    async with world.operator():
        await world.add_machine(instanceType="Standard_NC4_A2")
        told = await world.until_reason("InsufficientCapacity")
        assert "not enough capacity" in told["message"]
        await world.until_reason("Ready", within=1800)
    assert world.cloud.births == {POOL: 2}


async def test_a_delete_that_ends_failed_is_asked_for_again(world: AzureWorld) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        world.script.add("delete", Ends(refusals.broken()))
        await world.delete_machine()
        await world.until_gone()
    assert world.cloud.pools == {}
    assert len(world.arm.requests("delete")) == 2


async def test_a_cluster_that_is_stopped_gives_nothing_back_until_it_runs(
    world: AzureWorld,
) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        await world.cloud.stop()
        await world.delete_machine()
        told = await world.until_reason("OperationInProgress")
        assert "stopped" in told["message"]
        await world.cloud.start()
        await world.until_gone()
    assert world.cloud.pools == {}


async def test_a_cluster_that_azure_does_not_know_is_named(world: AzureWorld) -> None:
    world.environ["AZURE_CLUSTER_NAME"] = "other"
    async with world.operator():
        await world.add_machine()
        told = await world.until_reason("TargetNotFound")
    assert "managedClusters/other" in told["message"]


async def test_variables_that_are_missing_are_named_and_cost_no_finalizer(
    world: AzureWorld,
) -> None:
    del world.environ["ARM_RESOURCE_GROUP"], world.environ["AZURE_CLUSTER_NAME"]
    async with world.operator():
        await world.add_machine()
        told = await world.until_reason("ProvisionerNotConfigured")
        assert "ARM_RESOURCE_GROUP, AZURE_CLUSTER_NAME" in told["message"]
        await world.delete_machine()
        await world.until_gone()
    assert world.arm.ledger == []


async def test_an_identity_that_azure_does_not_trust_is_told(world: AzureWorld) -> None:
    world.arm.authority.federated = "another"
    async with world.operator():
        await world.add_machine()
        told = await world.until_reason("CloudUnauthorized")
    assert "AADSTS70021" in told["message"]
    assert world.arm.requests("put") == []


async def test_a_token_that_is_refused_is_replaced(world: AzureWorld) -> None:
    async with world.operator():
        await world.add_machine()
        await world.until_reason("Ready")
        world.arm.authority.revoke()
        await world.add_machine("phi-1")
        await world.until_reason("Ready", "phi-1")
    assert len(world.arm.requests("token")) == 2


async def test_nothing_secret_is_told(
    world: AzureWorld, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    signed = f"https://management.azure.com/operations/1?t=1&{SIGNATURE}&h=4"
    token = world.arm.authority.federated
    leaky = Refusal(400, "Leaky", f"see {signed}, you are {token}", bare=True)
    world.script.add("put", Refuse(leaky))
    world.script.add("put", Ends(leaky))
    world.script.add("list", Cut(after=True), times=2)
    with caplog.at_level(logging.DEBUG):
        async with world.operator():
            await world.add_machine()
            await world.until(lambda: world.status().get("failures") == 2)
            await world.until_reason("Ready", within=1800)
            await world.delete_machine()
            await world.until_gone()
    history = json.dumps([world.api.stored(EVENTS), *world.api.history(MACHINES)])
    assert "https://management.azure.com/operations/1" in history
    told = history + caplog.text + "".join(capsys.readouterr())
    for secret in (SIGNATURE, token, *world.arm.authority.given):
        assert secret not in told
