"""Where the time of a start goes, from objects as Kubernetes reports them."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from pykaito.reconcilers.inference.stages import durations, milestones, startup
from tests.unit.reconcilers.kubelet import NAME, NOW
from tests.unit.reconcilers.workspaces import raw_workspace

PRESET = {"name": "falcon-7b"}
PRIVATE = PRESET | {"presetOptions": {"image": "registry/falcon:1"}}
ADAPTERS = [{"source": {"name": n, "image": f"registry/{n}:1"}} for n in ("a", "b")]


def when(seconds: float) -> str:
    """Return the timestamp of a moment after the Workspace was made."""
    return f"{moment(seconds):%Y-%m-%dT%H:%M:%SZ}"


def moment(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def since(kind: str, seconds: float, status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "lastTransitionTime": when(seconds)}


def workspace(*, not_ready: float = 0, **inference: Any) -> dict[str, Any]:
    found = raw_workspace(
        metadata={"creationTimestamp": when(0)},
        inference={"preset": PRESET} | inference,
    )
    told = [since("ResourceReady", 1), since("InferenceReady", not_ready, "False")]
    return found | {"status": {"conditions": told}}


def made_machine() -> dict[str, Any]:
    conditions = [since("Launched", 61), since("Registered", 121)]
    status = {"launchTime": when(1), "readyTime": when(181), "conditions": conditions}
    return {"metadata": {}, "spec": {}, "status": status}


def ran(name: str, start: float, end: float, code: int = 0) -> dict[str, Any]:
    times = {"startedAt": when(start), "finishedAt": when(end)}
    return {"name": name, "state": {"terminated": times | {"exitCode": code}}}


def pod(
    *init: dict[str, Any],
    created: float = 200,
    scheduled: float = 203,
    started: float = 300,
    ready: float | None = 420,
    sidecars: tuple[str, ...] = (),
    **status: Any,
) -> dict[str, Any]:
    conditions = [since("PodScheduled", scheduled)]
    if ready is not None:
        conditions.append(since("ContainersReady", ready))
    server = {"name": NAME, "state": {"running": {"startedAt": when(started)}}}
    specs = [{"name": i["name"]} for i in init]
    specs += [{"name": name, "restartPolicy": "Always"} for name in sidecars]
    return {
        "metadata": {"creationTimestamp": when(created)},
        "spec": {"initContainers": specs},
        "status": {
            "conditions": conditions,
            "initContainerStatuses": list(init),
            "containerStatuses": [server],
            **status,
        },
    }


def stages(*pods: dict[str, Any], **inference: Any) -> dict[str, float]:
    found = durations(milestones(workspace(**inference), [], pods))
    return {str(stage): seconds for stage, seconds in found.items()}


def test_a_pod_is_scheduled_pulls_and_loads() -> None:
    assert stages(pod()) == {"schedule": 3, "image": 97, "load": 120}


def test_a_node_that_is_made_takes_from_asking_for_it_until_it_is_ready() -> None:
    found = durations(milestones(workspace(), [made_machine()], [pod()]))
    assert found == {"node": 180, "schedule": 3, "image": 97, "load": 120}


def test_init_containers_take_their_own_time_and_that_of_their_images() -> None:
    brought = pod(
        ran("copy-tool", 210, 211),
        ran("weights", 223, 263),
        ran("adapter-a", 264, 266),
        ran("adapter-b", 270, 275),
    )
    assert stages(brought, preset=PRIVATE, adapters=ADAPTERS) == {
        "schedule": 3,
        "image": (223 - 203) + (264 - 263) + (270 - 266) + (300 - 275),
        "weights": 40,
        "adapters": 7,
        "load": 120,
    }


def test_an_image_that_is_mounted_comes_with_the_others() -> None:
    asked = workspace(preset=PRIVATE)
    asked["metadata"]["annotations"] = {"kaito.sh/mount-weights-image": "true"}
    found = durations(milestones(asked, [], [pod()]))
    assert found == {"schedule": 3, "image": 97, "load": 120}


def test_a_templates_init_containers_count_but_for_those_that_run_on() -> None:
    spec = {
        "initContainers": [
            {"name": "fetch"},
            {"name": "proxy", "restartPolicy": "Always"},
        ]
    }
    found = stages(
        pod(ran("fetch", 210, 250), sidecars=("proxy",)), template={"spec": spec}
    )
    assert found == {"schedule": 3, "image": 57, "init": 40, "load": 120}
    only_proxy = {"spec": {"initContainers": spec["initContainers"][1:]}}
    found = stages(pod(sidecars=("proxy",)), template=only_proxy)
    assert found == {"schedule": 3, "image": 97, "load": 120}


def test_of_several_pods_the_last_one_counts() -> None:
    late = pod(scheduled=213, started=310, ready=500)
    assert stages(pod(), late) == {"schedule": 13, "image": 97, "load": 190}


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_does_not_count(phase: str) -> None:
    evicted = pod(started=900, ready=None, phase=phase)
    assert stages(evicted, pod()) == {"schedule": 3, "image": 97, "load": 120}


def test_a_pod_that_leaves_does_not_count() -> None:
    leaving = pod(ready=900)
    leaving["metadata"]["deletionTimestamp"] = when(901)
    assert stages(leaving, pod()) == {"schedule": 3, "image": 97, "load": 120}


def test_a_stage_that_is_not_over_has_no_duration() -> None:
    assert stages(pod(ready=None)) == {"schedule": 3, "image": 97}
    waits = pod(ran("weights", 223, 263, code=1), ready=None)
    waits["status"]["containerStatuses"][0]["state"] = {"waiting": {}}
    assert stages(waits, preset=PRIVATE) == {"schedule": 3}


def test_a_stage_that_is_known_in_part_has_no_duration() -> None:
    """Its containers' states may be gone; the pod's conditions are not."""
    assert stages(pod(containerStatuses=[])) == {"schedule": 3}


def test_failed_starts_of_a_server_are_no_time_for_its_image() -> None:
    restarted = pod(started=400)
    restarted["status"]["containerStatuses"][0]["restartCount"] = 3
    assert stages(restarted) == {"schedule": 3, "load": 20}


def test_clocks_that_differ_make_no_negative_time() -> None:
    assert stages(pod(created=204))["schedule"] == 0


def deployed(ended: float | None, template: Any = None) -> dict[str, Any]:
    """Return a Deployment that serves, whose last rollout ended then, if it did."""
    progressing = {
        "type": "Progressing",
        "status": "True",
        "reason": "ReplicaSetUpdated" if ended is None else "NewReplicaSetAvailable",
        "lastUpdateTime": when(ended or 0),
    }
    return {
        "metadata": {"generation": 1},
        "spec": {"template": template or {}},
        "status": {
            "observedGeneration": 1,
            "updatedReplicas": 1,
            "conditions": [progressing],
        },
    }


def test_a_rollout_that_ended_while_the_model_was_not_served_is_measured() -> None:
    found = startup(workspace(), deployed(420), [made_machine()], [pod()])
    assert found == {"node": 180, "schedule": 3, "image": 97, "load": 120}


def test_a_node_that_was_there_before_is_no_part_of_a_rollout() -> None:
    found = startup(workspace(not_ready=199), deployed(420), [made_machine()], [pod()])
    assert found == {"schedule": 3, "image": 97, "load": 120}


def test_a_node_that_comes_back_ends_no_rollout() -> None:
    back = pod(ready=999)
    assert startup(workspace(not_ready=900), deployed(420), [], [back]) == {}


def test_a_rollout_that_is_not_over_is_not_measured() -> None:
    assert startup(workspace(), deployed(None), [], [pod()]) == {}


def test_what_was_told_to_be_served_is_not_measured_again() -> None:
    told = workspace()
    told["status"]["conditions"][1]["status"] = "True"
    assert startup(told, deployed(420), [], [pod()]) == {}


def test_a_rollout_is_measured_by_the_pods_of_its_own_template() -> None:
    annotations = {"annotations": {"n": "2"}}
    new, old = pod(), pod(started=999, ready=1999)
    new["metadata"] |= annotations
    found = startup(
        workspace(), deployed(420, {"metadata": annotations}), [], [old, new]
    )
    assert found == {"schedule": 3, "image": 97, "load": 120}
