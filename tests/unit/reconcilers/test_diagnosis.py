"""What several pods show comes to one thing: the worst, or how far they are."""

from typing import Any

import pytest

from pykaito.api.conditions import InferenceReason
from tests.unit.reconcilers.kubelet import (
    IMAGE,
    NAME,
    POD,
    condition,
    crashed,
    ended,
    found,
    pod,
    running,
    template,
    waiting,
)
from tests.unit.reconcilers.workspaces import raw_workspace

ADAPTER = "registry.example.com/adapters/law:2"
WITH_ADAPTER = raw_workspace(
    inference={
        "preset": {"name": "falcon-7b"},
        "adapters": [{"source": {"name": "law", "image": ADAPTER}}],
    }
)
EVICTED = "The node was low on resource: memory. "


def test_no_pod_yet_is_progress() -> None:
    assert found().progressing


def test_the_worst_of_several_pods_is_told() -> None:
    assert found(pod(running()), pod(waiting("ErrImagePull"))).reason is (
        InferenceReason.IMAGE_PULL_ERROR
    )


def test_a_pod_that_serves_says_nothing_of_those_that_do_not() -> None:
    serves = pod(running(ready=True), conditions=[condition("Ready")])
    assert "loading the model" in found(serves, pod(running())).message


def evicted(seconds: float = 30) -> dict[str, Any]:
    return pod(reason="Evicted", phase="Failed", message=EVICTED, since=seconds)


def test_an_eviction_is_told_until_another_pod_runs() -> None:
    pulls = pod(waiting("ContainerCreating"))
    assert found(evicted(), pulls).reason is InferenceReason.NODE_MEMORY_PRESSURE
    assert found(evicted(), pod(running())).progressing


def test_a_second_eviction_is_told_until_another_pod_is_ready() -> None:
    pods = [evicted(), evicted(), pod(running())]
    assert found(*pods).reason is InferenceReason.NODE_MEMORY_PRESSURE
    serves = pod(running(ready=True), conditions=[condition("Ready")])
    assert found(*pods, serves).progressing


def test_evictions_of_long_ago_are_told_only_if_no_other_pod_comes() -> None:
    pods = [evicted(3600), evicted(3600)]
    assert found(*pods, pod(waiting("ContainerCreating"))).progressing
    waits = pod(conditions=[condition("PodScheduled", "False")])
    assert found(*pods, waits).reason is InferenceReason.NODE_MEMORY_PRESSURE
    assert found(*pods).reason is InferenceReason.NODE_MEMORY_PRESSURE


def test_a_pod_that_is_being_deleted_is_not_diagnosed() -> None:
    leaving = pod(waiting("ErrImagePull"))
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    assert found(leaving).message == f"pod {POD} is shutting down"


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        (pod(conditions=[]), "waits for the scheduler"),
        (pod(), "is being set up on node gpu-0"),
        (
            pod(waiting("ContainerCreating")),
            f"is pulling {IMAGE} for container {NAME} on node gpu-0",
        ),
        (
            pod(
                waiting("PodInitializing"),
                init=(running("weights") | {"image": "weights:1"},),
            ),
            "is copying the weights out of their image",
        ),
        (
            pod(
                waiting("PodInitializing"),
                init=(
                    running("weights") | {"state": ended(0)},
                    waiting("PodInitializing")
                    | {"name": "adapter-law", "image": ADAPTER},
                ),
            ),
            f"is pulling {ADAPTER} for container adapter-law",
        ),
        (
            pod(
                waiting("PodInitializing"),
                init=(running("adapter-law") | {"image": ADAPTER},),
            ),
            "is fetching adapter law",
        ),
        (pod(running(started=False)), "is loading the model"),
        (pod(running(started=True)), "has loaded the model and is not ready yet"),
    ],
)
def test_progress_says_what_a_pod_is_at(pods: dict[str, object], said: str) -> None:
    diagnosis = found(pods, workspace=WITH_ADAPTER)
    assert diagnosis.progressing
    assert diagnosis.message.startswith(f"pod {POD} ")
    assert said in diagnosis.message


def test_a_pod_of_a_users_own_is_not_said_to_load_a_model() -> None:
    assert "model" not in found(pod(running()), workspace=template()).message


def test_what_will_change_by_time_alone_is_looked_at_again_in_time() -> None:
    denied = pod(waiting("ErrImagePull", "401 Unauthorized"), since=100)
    missing = pod(
        waiting("CreateContainerConfigError", 'secret "hf" not found'), since=250
    )
    assert found(denied).look_again == 200
    assert found(denied, missing).look_again == 50
    assert found(pod(crashed(ended(1)))).look_again is None
