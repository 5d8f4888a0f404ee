"""Why pods do not serve yet is told in words a person can act on."""

from datetime import UTC, datetime
from typing import Any

from pykaito.api.conditions import InferenceReason
from pykaito.reconcilers.inference.diagnosis import diagnose
from tests.unit.reconcilers.workspaces import raw_workspace

WORKSPACE = raw_workspace()
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(
    *containers: dict[str, Any],
    init: list[dict[str, Any]] | None = None,
    **status: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"name": "p"},
        "status": {
            "containerStatuses": list(containers),
            "initContainerStatuses": init or [],
            **status,
        },
    }


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "server", "image": "reg/model:1", "state": state, **more}


def test_no_pod_yet_is_progress() -> None:
    assert diagnose([], WORKSPACE, NOW).progressing


def test_an_image_that_cannot_be_pulled_is_named_with_the_registrys_answer() -> None:
    found = diagnose([pod(waiting("ErrImagePull", "401 Unauthorized"))], WORKSPACE, NOW)
    assert found.reason is InferenceReason.IMAGE_PULL_ERROR
    assert "reg/model:1" in found.message
    assert "401 Unauthorized" in found.message


def test_an_init_containers_image_counts_too() -> None:
    found = diagnose(
        [pod(init=[waiting("ImagePullBackOff", "not found")])], WORKSPACE, NOW
    )
    assert found.reason is InferenceReason.IMAGE_PULL_ERROR


def test_a_crash_loop_is_told_with_the_last_words() -> None:
    last = {"terminated": {"exitCode": 1, "message": "loading\nno config.json\n"}}
    found = diagnose(
        [pod(waiting("CrashLoopBackOff", lastState=last, restartCount=3))],
        WORKSPACE,
        NOW,
    )
    assert found.reason is InferenceReason.CONTAINER_CRASH_LOOP_BACK_OFF
    assert "no config.json" in found.message
    assert "3 restarts" in found.message
    assert "kubectl logs p -c server -p" in found.message


def test_a_container_that_crashed_and_runs_again_is_told_as_before() -> None:
    last = {"terminated": {"exitCode": 1, "message": "no config.json"}}
    again = {"name": "server", "state": {"running": {}}, "lastState": last}
    found = diagnose([pod(again | {"restartCount": 1})], WORKSPACE, NOW)
    assert found.reason is InferenceReason.CONTAINER_CRASH_LOOP_BACK_OFF
    assert "no config.json" in found.message


def test_a_container_that_has_recovered_is_not_told_as_crashed() -> None:
    last = {"terminated": {"exitCode": 1}}
    fine = {"name": "weights", "state": {"terminated": {"exitCode": 0}}, "ready": True}
    assert diagnose(
        [pod(init=[fine | {"lastState": last}])], WORKSPACE, NOW
    ).progressing


def test_an_evicted_pod_does_not_count_while_another_takes_its_place() -> None:
    evicted = pod(reason="Evicted", phase="Failed", message="low on memory")
    loading = pod({"name": "server", "state": {"running": {}}})
    assert diagnose([evicted, loading], WORKSPACE, NOW).progressing
    waits = pod(conditions=[{"type": "PodScheduled", "status": "False"}])
    assert (
        diagnose([evicted, waits], WORKSPACE, NOW).reason
        is InferenceReason.NODE_MEMORY_PRESSURE
    )


def test_out_of_memory_is_told_rather_than_the_crash_loop_it_causes() -> None:
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    found = diagnose([pod(waiting("CrashLoopBackOff", lastState=last))], WORKSPACE, NOW)
    assert found.reason is InferenceReason.CONTAINER_OOM_KILLED


def test_the_schedulers_reason_is_passed_on() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
    }
    found = diagnose([pod(conditions=[condition])], WORKSPACE, NOW)
    assert found.reason is InferenceReason.UNSCHEDULABLE
    assert "Insufficient nvidia.com/gpu" in found.message


def test_an_eviction_for_disk_is_told_as_disk_pressure() -> None:
    found = diagnose(
        [pod(reason="Evicted", message="low on ephemeral-storage")], WORKSPACE, NOW
    )
    assert found.reason is InferenceReason.NODE_DISK_PRESSURE


def test_a_running_container_is_loading_the_model() -> None:
    found = diagnose(
        [pod({"name": "server", "state": {"running": {}}})], WORKSPACE, NOW
    )
    assert found.progressing
    assert "loading the model" in found.message


def test_weights_on_their_way_are_progress() -> None:
    init = [{"name": "weights", "state": {"running": {}}}]
    assert "fetching weights" in diagnose([pod(init=init)], WORKSPACE, NOW).message


def test_the_worst_of_several_pods_is_told() -> None:
    loading = pod({"name": "server", "state": {"running": {}}})
    found = diagnose([loading, pod(waiting("ErrImagePull"))], WORKSPACE, NOW)
    assert found.reason is InferenceReason.IMAGE_PULL_ERROR
