"""A Deployment serves or does not, and InferenceReady says how far it is."""

from typing import Any

import pytest

from pykaito.api.conditions import InferenceReason
from pykaito.reconcilers.inference.diagnosis import Diagnosis, pending
from pykaito.reconcilers.inference.status import conditions, judge
from tests.unit.reconcilers.kubelet import (
    IMAGE,
    NAME,
    NOW,
    ago,
    condition,
    crashed,
    ended,
    pod,
    running,
    waiting,
)
from tests.unit.reconcilers.workspaces import raw_workspace

QUOTA = "exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3"
TEMPLATE = {"spec": {"containers": [{"name": NAME, "image": IMAGE}]}}
DENIED = pod(waiting("ErrImagePull", "401 Unauthorized"))
LOADING = pod(running())


def deployed(
    replicas: int = 1,
    *,
    available: int = 0,
    updated: int | None = None,
    observed: int = 1,
    told: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    return {
        "metadata": {"name": "d", "namespace": "team", "generation": 1},
        "spec": {"replicas": replicas, "template": TEMPLATE},
        "status": {
            "observedGeneration": observed,
            "replicas": replicas,
            "updatedReplicas": replicas if updated is None else updated,
            "availableReplicas": available,
            "conditions": list(told),
        },
    }


def judged(deployment: dict[str, Any], *pods: dict[str, Any]) -> Diagnosis:
    return judge(deployment, pods, raw_workspace(), NOW)


def told(kind: str, status: str, reason: str = "", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, **more}


def test_all_replicas_of_the_current_template_serve() -> None:
    found = judged(deployed(2, available=2))
    assert (found.reason, found.message) == (
        InferenceReason.SUCCESS,
        "2 of 2 replicas serve",
    )


@pytest.mark.parametrize(
    "deployment",
    [
        deployed(2, available=1),
        deployed(2, available=2, updated=1),
        deployed(2, available=2, observed=0),
        deployed(1, available=1) | {"status": {}},
    ],
)
def test_fewer_or_older_replicas_do_not_count(deployment: dict[str, Any]) -> None:
    assert judged(deployment, LOADING).progressing


@pytest.mark.parametrize(
    ("of", "replicas", "serves"), [(1, 1, True), (0, 1, False), (1, 2, False)]
)
def test_a_change_nobody_has_looked_at_yet_ends_no_service(
    of: int, replicas: int, serves: bool
) -> None:
    ready = told("InferenceReady", "True", observedGeneration=of)
    workspace = raw_workspace(status={"conditions": [ready]})
    changed = deployed(1, available=1, observed=0)
    changed["spec"]["replicas"] = replicas
    found = judge(changed, [LOADING], workspace, NOW)
    assert (found.reason == InferenceReason.SUCCESS) is serves


def test_how_many_serve_is_told_where_there_are_several() -> None:
    assert judged(deployed(3, available=1), LOADING).message.startswith(
        "1 of 3 replicas serve: pod "
    )


def test_a_rollout_says_how_far_it_is() -> None:
    found = judged(deployed(3, available=2, updated=1), LOADING)
    assert found.message.startswith(
        "rolling out, 1 of 3 replicas updated, 2 serve: pod "
    )


def test_what_a_pod_shows_is_told_of_a_deployment_with_one() -> None:
    message = judged(deployed(), DENIED).message
    assert message.startswith("pod ")
    assert IMAGE in message


def of_another(**container: Any) -> dict[str, Any]:
    containers = [{"name": NAME, "image": IMAGE, **container}]
    return pod(waiting("ErrImagePull", "401"), spec={"containers": containers})


@pytest.mark.parametrize(
    "change", [{"image": "old:1"}, {"command": ["old"]}, {"env": [{"name": "A"}]}]
)
def test_pods_of_an_earlier_template_say_nothing_of_this_one(change: Any) -> None:
    found = judged(deployed(), of_another(**change), LOADING)
    assert "is loading the model" in found.message


def test_pods_on_other_volumes_say_nothing_of_this_template() -> None:
    claims = [
        {"name": "weights", "persistentVolumeClaim": {"claimName": name}}
        for name in ("new", "old")
    ]
    current, earlier = (
        {"containers": [{"name": NAME, "image": IMAGE}], "volumes": [claim]}
        for claim in claims
    )
    of_old = pod(waiting("ErrImagePull", "401"), spec=earlier)
    token = {"name": "kube-api-access", "projected": {"sources": []}}
    of_new = pod(running(), spec=current | {"volumes": [claims[0], token]})
    wanted = deployed()
    wanted["spec"]["template"] = {"spec": current}
    assert "is loading the model" in judged(wanted, of_old, of_new).message


def test_pods_are_of_an_earlier_template_until_one_of_this_was_made() -> None:
    assert judged(deployed(updated=0), DENIED).progressing
    assert judged(deployed(observed=0), DENIED).progressing


def test_settings_of_a_template_tell_its_pods_from_earlier_ones() -> None:
    marked = deployed()
    marked["spec"]["template"] = TEMPLATE | {"metadata": {"annotations": {"sum": "2"}}}
    current = pod(running())
    current["metadata"]["annotations"] = {"sum": "2", "other": "x"}
    assert "loading" in judged(marked, DENIED, current).message


def test_what_something_else_adds_to_a_pod_makes_it_no_other() -> None:
    containers = [{"name": NAME, "image": IMAGE}, {"name": "proxy", "image": "p:1"}]
    meshed = pod(
        waiting("ErrImagePull", "401 Unauthorized"), spec={"containers": containers}
    )
    assert judged(deployed(), LOADING | {"spec": {}}, meshed).reason == "ImagePullError"


GPU = {"nvidia.com/gpu": "1"}
DEFAULTS = {"cpu": "1", "memory": "512Mi"}


def test_resources_that_a_limit_range_adds_make_a_pod_no_other() -> None:
    asked = {"name": NAME, "image": IMAGE, "resources": {"limits": GPU}}
    given = {"limits": GPU | DEFAULTS, "requests": GPU | DEFAULTS}
    wanted = deployed()
    wanted["spec"]["template"] = {"spec": {"containers": [asked]}}
    earlier = of_another(image="old:1", resources=given)
    current = pod(running(), spec={"containers": [asked | {"resources": given}]})
    assert "is loading the model" in judged(wanted, earlier, current).message


def test_a_pod_with_other_resources_is_of_an_earlier_template() -> None:
    asked = {"name": NAME, "image": IMAGE, "resources": {"limits": GPU}}
    wanted = deployed()
    wanted["spec"]["template"] = {"spec": {"containers": [asked]}}
    earlier = of_another(resources={"limits": {"nvidia.com/gpu": "2"}})
    current = pod(running(), spec={"containers": [asked]})
    assert "is loading the model" in judged(wanted, earlier, current).message


def test_pods_that_are_all_changed_on_their_way_are_taken_for_current() -> None:
    assert judged(deployed(), of_another(image="mirror/x:1")).reason == "ImagePullError"


def test_a_rollout_that_someone_paused_says_how_it_goes_on() -> None:
    paused = deployed(available=1, updated=0)
    paused["spec"]["paused"] = True
    assert judged(paused).message == (
        "rolling out, 0 of 1 replicas updated, 1 serve: the Deployment is paused; go "
        "on: kubectl -n team rollout resume deployment d"
    )
    begun = deployed()
    begun["spec"]["paused"] = True
    assert "is loading the model" in judged(begun, LOADING).message


def test_a_deployment_without_replicas_waits() -> None:
    assert "0 replicas" in judged(deployed(0)).message


@pytest.mark.parametrize(
    ("words", "reason", "said"),
    [
        (QUOTA, "QuotaExceeded", "ResourceQuota small of namespace team is exceeded"),
        ("violates PodSecurity", "PodsRefused", "violates PodSecurity"),
    ],
)
def test_pods_that_nobody_may_create_are_told(
    words: str, reason: str, said: str
) -> None:
    failure = told("ReplicaFailure", "True", message=words)
    found = judged(deployed(told=(failure,)))
    assert found.reason == reason
    assert said in found.message


def test_a_refusal_does_not_hide_what_pods_that_are_there_show() -> None:
    failure = told("ReplicaFailure", "True", message=QUOTA)
    reasons = {
        judged(deployed(2, told=(failure,)), each).reason for each in (LOADING, DENIED)
    }
    assert reasons == {"QuotaExceeded", "ImagePullError"}


def test_a_refusal_stalls_after_five_minutes() -> None:
    since = [ago(299), ago(300)]
    stalled = [
        judged(
            deployed(told=(told("ReplicaFailure", "True", lastTransitionTime=at),))
        ).stalled
        for at in since
    ]
    assert stalled == [False, True]


def test_a_rollout_that_takes_too_long_stalls_whatever_it_is_at() -> None:
    overdue = told("Progressing", "False", "ProgressDeadlineExceeded")
    loading = judged(deployed(told=(overdue,)), LOADING)
    assert (loading.reason, loading.stalled) == ("ProgressDeadlineExceeded", True)
    assert "is loading the model" in loading.message
    denied = judged(deployed(told=(overdue,)), DENIED)
    assert (denied.reason, denied.stalled) == ("ImagePullError", True)


def test_a_remark_is_added_to_what_is_told() -> None:
    (ready,) = conditions(Diagnosis(InferenceReason.SUCCESS, "1 of 1"), "yours: x")
    assert (ready.status, ready.message) == ("True", "1 of 1; yours: x")


SIGNED = "https://cdn.example/m.bin?X-Amz-Expires=60&X-Amz-Signature=5ec4e7"


@pytest.mark.parametrize(
    ("said", "told_instead"),
    [
        (
            f"403 Client Error: Forbidden for url: {SIGNED}",
            "Forbidden for url: https://cdn.example/m.bin?[redacted]. ",
        ),
        (
            f'Get "{SIGNED}": dial tcp: i/o timeout',
            'Get "https://cdn.example/m.bin?[redacted]": dial tcp: i/o timeout. ',
        ),
        (
            "cannot clone https://me:5ec4e7@git.example/m: denied",
            "clone https://[redacted]@git.example/m: denied. ",
        ),
        ("sent Bearer 5ec4e75ec4e7 in vain", "sent Bearer [redacted] in vain. "),
        ("denied to hf_5ec4e75ec4e75ec4e7", "denied to hf_[redacted]. "),
    ],
)
def test_what_others_say_is_told_without_what_lets_its_readers_in(
    said: str, told_instead: str
) -> None:
    failed = pod(crashed(ended(1, f"Error: {said}")))
    pulled = pod(waiting("ErrImagePull", said))
    for found in (judged(deployed(), failed), judged(deployed(), pulled)):
        (ready,) = conditions(found)
        assert told_instead in ready.message


def test_progress_has_no_page_and_a_failure_has_its_own() -> None:
    (progress,) = conditions(pending("loading"))
    assert progress.message == "loading"
    (failure,) = conditions(Diagnosis("ImagePullError", "why"))
    assert failure.message.endswith("/ImagePullError.md)")


def test_what_is_stalled_says_so_in_a_condition_of_its_own() -> None:
    ready, stalled = conditions(Diagnosis("ImagePullError", "why", stalled=True))
    assert (ready.type, ready.status) == ("InferenceReady", "False")
    assert (stalled.type, stalled.status) == ("InferenceStalled", "True")
    assert ready.message == stalled.message


def lately_ready(seconds: float, **container: Any) -> dict[str, Any]:
    """Return a pod that has been ready for so long."""
    server = running(ready=True, **container)
    server["state"] = {"running": {"startedAt": ago(seconds)}}
    found = pod(server, phase="Running")
    found["status"]["conditions"].append(condition("Ready", seconds=seconds))
    return found


def settling(*pods: dict[str, Any]) -> Diagnosis:
    """Return what is said while the Deployment counts no pod that is new."""
    wanted = deployed()
    wanted["spec"]["minReadySeconds"] = 10
    return judge(wanted, pods, raw_workspace(), NOW)


def test_a_moment_of_readiness_ends_no_crash_loop() -> None:
    again = lately_ready(1, lastState=ended(3, "ValueError: no weights"))
    found = settling(again)
    assert found.reason == InferenceReason.CONTAINER_CRASH_LOOP_BACK_OFF
    assert "ValueError: no weights" in found.message
    assert found.look_again == 9


def test_a_pod_that_is_new_says_when_it_counts() -> None:
    found = settling(lately_ready(1))
    assert found.progressing
    assert "is ready, and counts once it was for 10 s" in found.message


def test_a_pod_that_stays_ready_is_forgiven_its_crash() -> None:
    again = lately_ready(10, lastState=ended(3, "ValueError: no weights"))
    assert settling(again).progressing


def test_a_server_that_stays_up_is_not_blamed_for_one_beside_it_that_is_not_ready() -> (
    None
):
    healthy = lately_ready(60, lastState=ended(3))["status"]["containerStatuses"]
    assert settling(pod(*healthy, running("slow", ready=False))).progressing
